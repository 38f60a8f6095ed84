// Model text to safe elements: no raw HTML, no images, no inline style, and DOMPurify behind it all the same.

import DOMPurify from "../vendor/dompurify/purify.es.mjs";
import MarkdownIt from "../vendor/markdown-it/markdown-it.esm.min.mjs";

const markdown = new MarkdownIt({ html: false, linkify: true, breaks: true, typographer: false });
markdown.disable("image"); // an image would be a request to wherever the text says

for (const rule of ["th_open", "td_open"]) {
  markdown.renderer.rules[rule] = (tokens, index, options, _env, renderer) => {
    const token = tokens[index];
    const style = token.attrGet("style");
    if (style) {
      token.attrs = token.attrs.filter(([name]) => name !== "style");
      token.attrJoin("class", `to-${style.split(":").pop().trim()}`);
    }
    return renderer.renderToken(tokens, index, options);
  };
}
markdown.renderer.rules.table_open = () => '<div class="table-wrap" tabindex="0"><table>';
markdown.renderer.rules.table_close = () => "</table></div>";

const CLEAN = {
  RETURN_DOM_FRAGMENT: true,
  USE_PROFILES: { html: true },
  ADD_ATTR: ["target"],
  FORBID_ATTR: ["style", "id", "name"],
  FORBID_TAGS: ["img", "picture", "video", "audio", "source", "iframe", "form", "input", "button", "style", "svg", "math"],
};

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.nodeName !== "A") return;
  node.setAttribute("target", "_blank");
  node.setAttribute("rel", "noopener noreferrer");
});

/** A fragment of safe elements. */
export function renderMarkdown(text) {
  return DOMPurify.sanitize(markdown.render(text), CLEAN);
}
