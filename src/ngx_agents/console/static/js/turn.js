// Follows one turn to its end, over as many connections as that takes, without losing or doubling an event.

import * as api from "./api.js";
import { Problem } from "./problem.js";
import { EventGatherer, readEvents } from "./sse.js";

const FIRST_DELAY_MS = 250;
const MAX_DELAY_MS = 10_000;
const ASK_AFTER = 4; // failures in a row before the turn's state is asked for
const GIVE_UP_AFTER = 12;
const GIVE_UP_UNSENT_AFTER = 3; // before the server is known to have the message
const TERMINAL = new Set(["turn.completed", "turn.failed", "turn.cancelled"]);
export const ENDED = new Set(["completed", "failed", "cancelled", "dead"]);

/**
 * How far a stream has been read. Ids are `<epoch>-<sequence>`, both growing. Events without an id are what the server
 * tells again in short; they are always new, and follow either a `text.reset` or the beginning of a stream.
 */
export class Position {
  id = ""; // of the last event that had one
  #epoch = -1;
  #sequence = -1;

  /** Whether the event is new; it counts as read from then on. */
  advance({ id, type }) {
    const match = /^(\d+)-(\d+)$/.exec(id);
    if (match) {
      const [epoch, sequence] = [Number(match[1]), Number(match[2])];
      if (epoch < this.#epoch || (epoch === this.#epoch && sequence <= this.#sequence)) return false;
      this.id = id;
      this.#epoch = epoch;
      this.#sequence = sequence;
    } else if (type === "text.reset") {
      this.#epoch = this.#sequence = -1; // all that follows replaces what was heard
    }
    return true;
  }
}

/** Full jitter: anything up to the exponential ceiling, so that many clients do not return at once. */
export function delayMs(failures, chance = Math.random()) {
  return chance * Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** failures);
}

export class TurnFollower {
  #position = new Position();
  #abort = new AbortController();
  #ended = false;
  #heard = false; // anything at all, with an id or without
  #retryMs = 0; // the least wait before coming back, as the server told
  #open;

  /** `onEvent({type, data})`, `onLink("open" | "lost")`. `turn.view` is an event of our own: the whole state at once. */
  constructor({ onEvent, onLink, turnId = null }) {
    this.onEvent = onEvent;
    this.onLink = onLink;
    this.turnId = turnId;
  }

  /** Sends the message and follows its turn. Resolves at the end; throws Problem when that cannot be reached. */
  start(conversationId, body, key) {
    this.#open = (signal) => api.startTurn(conversationId, body, { key, signal });
    return this.#follow();
  }

  /** Follows a turn that exists, from its beginning. */
  resume() {
    return this.#follow();
  }

  /** Stops following; the turn goes on. */
  leave() {
    this.#abort.abort();
  }

  async #follow() {
    for (let failures = 0; !this.#ended && !this.#abort.signal.aborted; ) {
      let problem = null;
      try {
        if (await this.#readOnce()) failures = 0;
      } catch (error) {
        if (this.#abort.signal.aborted) return;
        problem = error instanceof Problem ? error : Problem.offline();
        if (this.#isFinal(problem)) throw problem;
      }
      if (this.#ended) return;
      failures += 1;
      this.onLink("lost");
      if (this.turnId && (failures >= ASK_AFTER || problem?.status === 404) && (await this.#ask())) return;
      if (failures >= (this.turnId ? GIVE_UP_AFTER : GIVE_UP_UNSENT_AFTER)) throw problem ?? Problem.offline();
      const leastMs = Math.max(this.#retryMs, (problem?.retryAfterS ?? 0) * 1000);
      await pause(Math.max(delayMs(failures), leastMs), this.#abort.signal);
    }
  }

  /** One connection. True when it brought anything new. */
  async #readOnce() {
    const signal = this.#abort.signal;
    const response = this.turnId
      ? await api.turnEvents(this.turnId, { lastId: this.#position.id, signal })
      : await this.#open(signal);
    if (this.#heard && !this.#position.id) this.#tell({ type: "text.reset", data: { reason: "resumed" } });
    let isNews = false;
    const gatherer = new EventGatherer();
    try {
      for await (const event of readEvents(response.body, undefined, gatherer)) {
        if (!this.#position.advance(event)) continue;
        isNews = this.#heard = true;
        this.onLink("open");
        this.#take(event);
        if (this.#ended) break;
      }
    } finally {
      this.#retryMs = gatherer.retryMs ?? this.#retryMs;
    }
    return isNews;
  }

  #take(event) {
    const data = JSON.parse(event.data);
    if (data.turn_id) this.turnId = data.turn_id;
    if (TERMINAL.has(event.type)) this.#ended = true;
    this.#tell({ type: event.type, data });
  }

  /** A fault in the page must not look like a lost connection. */
  #tell(event) {
    try {
      this.onEvent(event);
    } catch (error) {
      reportError(error);
    }
  }

  #isFinal(problem) {
    if (problem.status === 404 && this.turnId) return false;
    return this.turnId ? !problem.isPassing : problem.status !== 0;
  }

  /** True when the turn turned out to have ended. */
  async #ask() {
    let view;
    try {
      view = await api.getTurn(this.turnId);
    } catch (error) {
      if (error instanceof Problem && error.isPassing) return false;
      throw error;
    }
    if (!ENDED.has(view.status)) return false;
    this.#ended = true;
    this.onLink("open");
    this.#tell({ type: "turn.view", data: view });
    return true;
  }
}

/** Waits, but no longer than until the network is back. */
function pause(ms, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      window.removeEventListener("online", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    window.addEventListener("online", done);
    signal.addEventListener("abort", done);
  });
}
