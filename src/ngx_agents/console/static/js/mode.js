// The line above the thread that says how the server is doing, when it is not well.

import { byId } from "./dom.js";
import { say } from "./i18n.js";

/** `mode` as the header NGX-Mode or the event `mode` has it; null is normal. */
export function showMode(mode) {
  const node = byId("mode-state");
  const isNormal = !mode || mode === "normal";
  if (!isNormal && node.dataset.mode !== mode) say(node, mode === "read-only" ? "mode_read_only" : "mode_degraded");
  if (isNormal) {
    delete node.dataset.say;
    node.textContent = "";
  }
  node.dataset.mode = isNormal ? "normal" : mode;
}
