// Server-sent events over fetch: what EventSource cannot do (POST, headers, a last id of our own).
// Follows the parsing rules of the HTML standard, §9.2.6.

const SILENCE_MS = 30_000; // the server sends a heartbeat every 10 s

/** Cuts a stream of text pieces into lines, whatever the line ends are and wherever the pieces break. */
export class LineCutter {
  #rest = "";
  #skipNewline = false;

  /** The lines that are complete after `piece`. */
  cut(piece) {
    if (this.#skipNewline && piece.startsWith("\n")) piece = piece.slice(1);
    if (piece !== "") this.#skipNewline = piece.endsWith("\r");
    const lines = (this.#rest + piece).split(/\r\n|\n|\r/);
    this.#rest = lines.pop();
    return lines;
  }
}

/** Gathers lines into events `{id, type, data}`. `id` is the event's own, or "": no earlier one is inherited. */
export class EventGatherer {
  /** When the server wants a lost client back, in ms, or null while it has not said. */
  retryMs = null;
  #id = "";
  #type = "";
  #data = [];

  /** The event that `line` completes, or null. */
  take(line) {
    if (line === "") return this.#complete();
    const colon = line.indexOf(":");
    if (colon === 0) return null; // a comment: a heartbeat
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    if (field === "data") this.#data.push(value);
    else if (field === "event") this.#type = value;
    else if (field === "id" && !value.includes("\0")) this.#id = value;
    else if (field === "retry" && /^\d{1,9}$/.test(value)) this.retryMs = Number(value);
    return null;
  }

  #complete() {
    const event = this.#data.length ? { id: this.#id, type: this.#type || "message", data: this.#data.join("\n") } : null;
    this.#id = "";
    this.#type = "";
    this.#data = [];
    return event;
  }
}

/** Yields the events of a response body. Throws when nothing, not even a heartbeat, came for 30 s. */
export async function* readEvents(body, silenceMs = SILENCE_MS, gatherer = new EventGatherer()) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const lines = new LineCutter();
  try {
    for (;;) {
      const { done, value } = await readWithin(reader, silenceMs);
      if (done) return;
      for (const line of lines.cut(decoder.decode(value, { stream: true }))) {
        const event = gatherer.take(line);
        if (event) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function readWithin(reader, silenceMs) {
  let timer;
  const silence = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new TypeError("silent stream")), silenceMs);
  });
  try {
    return await Promise.race([reader.read(), silence]);
  } finally {
    clearTimeout(timer);
  }
}
