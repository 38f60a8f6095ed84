// Puts the page together: the composer, the thread, the list of conversations, and the address that names one.

import { loadAgents } from "./agents.js";
import { onUnauthenticated } from "./api.js";
import { ChatView } from "./chat.js";
import { Composer } from "./composer.js";
import { askForToken } from "./dialogs.js";
import { byId } from "./dom.js";
import { setLanguage, t, translatePage } from "./i18n.js";
import { problemNotice } from "./notice.js";
import { openProfile } from "./profile.js";
import { Session } from "./session.js";
import { Sidebar } from "./sidebar.js";
import { buildWelcome } from "./welcome.js";

const idInAddress = () => /^#\/c\/([\w-]+)$/.exec(location.hash)?.[1] ?? null;

function start() {
  onUnauthenticated(askForToken);
  const chat = new ChatView();
  const composer = new Composer({ onSend: (text) => session.send(text), onStop: () => session.stop() });
  const sidebar = new Sidebar({
    onDeleted: (id) => id === session.id && show(null),
    onProblem: (problem) => chat.add(problemNotice(problem)),
  });
  const session = new Session({ chat, composer, sidebar });
  const show = (id) => {
    history.replaceState(null, "", id ? `#/c/${id}` : location.pathname);
    return session.open(id);
  };

  buildWelcome((key) => session.send(t(key)));
  byId("new-conversation").addEventListener("click", () => show(null));
  byId("skip").addEventListener("click", () => composer.focus());
  byId("open-profile").addEventListener("click", openProfile);
  for (const button of document.querySelectorAll("[data-language]")) {
    button.addEventListener("click", () => setLanguage(button.dataset.language));
  }
  document.addEventListener("click", closeBadges);
  document.addEventListener("keydown", (event) => event.key === "Escape" && closeBadges(event));
  window.addEventListener("hashchange", () => idInAddress() !== session.id && session.open(idInAddress()));
  translatePage();
  loadAgents().catch(() => {}); // the team decides, as long as its list is not to be had
  sidebar.refresh();
  session.open(idInAddress());
}

/** An explanation closes when something else is clicked. */
function closeBadges({ type, target }) {
  for (const badge of document.querySelectorAll(".badge[open]")) {
    if (type === "keydown" || !badge.contains(target)) badge.open = false;
  }
}

start();
