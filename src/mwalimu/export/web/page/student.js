// The student: messages in, an answer out, a token at a time. For browsers and for node alike.
import { openDecoder } from "./runtime.js";
import { Speech } from "./speech.js";

/**
 * Loads the student of this folder. `read` takes a file's name and gives its bytes, as a promise
 * of a Uint8Array; `backend` is "wasm" or "webgpu". Throws where the student would not be the one
 * that was trained.
 */
export async function loadStudent(read, backend = "wasm") {
  const json = async (name) => JSON.parse(new TextDecoder().decode(await read(name)));
  const made = await json("export.json");
  const speech = new Speech(await json("tokenizer.json"), await json("speech.json"));
  return new Student(speech, await openDecoder(read, backend), made);
}

class Student {
  #speech;
  #decoder;
  #context;
  #ends;

  constructor(speech, decoder, { context, ends }) {
    this.#speech = speech;
    this.#decoder = decoder;
    this.#context = context;
    this.#ends = new Set(ends);
  }

  /**
   * Answers `messages`, each {role, content}, with the likeliest token every time. Yields {ids,
   * text} of the answer so far; `ended` tells that it ended by itself. Leaving the loop stops it.
   */
  async *answer(messages, maxTokens = 512) {
    let next = this.#speech.encodePrompt(messages);
    const room = this.#context - next.length;
    if (room < 1) {
      throw new Error(
        `this conversation has ${next.length} tokens; the student reads ${this.#context} at most`,
      );
    }
    this.#decoder.reset();
    const ids = [];
    while (ids.length < Math.min(room, maxTokens)) {
      const token = likeliest(await this.#decoder.feed(next));
      next = [token];
      ids.push(token);
      const ended = this.#ends.has(token);
      yield { ids: [...ids], text: this.#speech.decode(ended ? ids.slice(0, -1) : ids), ended };
      if (ended) return;
    }
  }
}

function likeliest(logits) {
  let best = 0;
  for (let id = 1; id < logits.length; id++) if (logits[id] > logits[best]) best = id;
  return best;
}
