// What this browser remembers between visits: the language and the turns that were running. No content, no keys.

const PREFIX = "ngx.";

/** The remembered value, or null; a browser that refuses storage remembers nothing. */
export function recall(name) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name));
  } catch {
    return null;
  }
}

export function remember(name, value) {
  try {
    if (value === null) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // storage is full or forbidden: the page works without it
  }
}

/** The turn that was running in a conversation when it was last seen, or null. */
export const runningTurn = (conversationId) => recall(`turn.${conversationId}`);

export const setRunningTurn = (conversationId, turnId) => remember(`turn.${conversationId}`, turnId);
