// Chat to token ids and back, exactly as training did it. What a user writes is text: where it
// spells a control token, its characters are encoded, never the token.
import { compile } from "./template.js";
import { Tokenizer } from "./vendor/tokenizers.js";

// Private-use characters stand for text that spells a control token while the template is
// rendered. A template that prints a value as JSON spells them with a backslash.
const MARK = /(?:\ue0fe|\\ue0fe)(\d+)(?:\ue0ff|\\ue0ff)/u;
const FORGED = "\\ue0fe|\\ue0ff|\\\\ue0f[ef]"; // written by a user, these are text too

export class Speech {
  #render;
  #special;
  #system;
  #control;
  #pattern;
  #cleanUp;
  #whole;
  #plain;

  /** `tokenizer` is tokenizer.json, `speech` is speech.json. Throws where its probes fail. */
  constructor(tokenizer, speech) {
    this.#render = compile(speech.template);
    this.#special = speech.special;
    this.#system = speech.system;
    this.#control = new Set(speech.control.ids);
    const spelled = speech.control.spellings.map((one) => one.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&"));
    this.#pattern = new RegExp([...spelled, FORGED].join("|"), "gu");
    this.#cleanUp = speech.clean_up;
    this.#whole = new Tokenizer(tokenizer, {});
    const added_tokens = tokenizer.added_tokens.filter((token) => !token.special);
    this.#plain = new Tokenizer({ ...tokenizer, added_tokens }, {});
    speech.probes.forEach((probe) => this.#hold(probe));
  }

  /** The ids after which the assistant speaks. Throws where the template refuses the chat. */
  encodePrompt(messages) {
    const spelled = [];
    const marked = this.#adapted(messages).map(({ role, content }) => ({
      role,
      content: content.replace(this.#pattern, (text) => `\ue0fe${spelled.push(text) - 1}\ue0ff`),
    }));
    const text = this.#render({
      ...this.#special,
      messages: marked,
      add_generation_prompt: true,
    });
    return text
      .split(MARK)
      .flatMap((piece, index) =>
        index % 2 ? this.#encodeText(spelled[Number(piece)]) : encode(this.#whole, piece),
      );
  }

  /** The text of an answer's ids; control tokens are left out. */
  decode(ids) {
    const options = { skip_special_tokens: true, clean_up_tokenization_spaces: this.#cleanUp };
    return ids.length ? this.#whole.decode(ids, options) : "";
  }

  /** A system turn that the template would not write stands before the first user turn's text. */
  #adapted(messages) {
    if (this.#system || messages.length < 2 || messages[0].role !== "system") return messages;
    const [system, first, ...rest] = messages;
    return [{ ...first, content: `${system.content}\n\n${first.content}` }, ...rest];
  }

  /** Some vocabularies reach a control id by plain merges; such text is encoded by characters. */
  #encodeText(text) {
    const ids = encode(this.#plain, text);
    if (!ids.some((id) => this.#control.has(id))) return ids;
    return [...text]
      .flatMap((character) => encode(this.#plain, character))
      .filter((id) => !this.#control.has(id));
  }

  #hold({ messages, ids, text }) {
    const found = this.encodePrompt(messages);
    if (JSON.stringify(found) !== JSON.stringify(ids)) {
      const at = ids.findIndex((id, index) => found[index] !== id);
      throw new Error(
        `this student's tokenizer works otherwise here than in training: ${JSON.stringify(messages)}` +
          ` gives ${found[at]} at place ${at}, not ${ids[at]}`,
      );
    }
    if (this.decode(ids) !== text) {
      throw new Error(
        `this student's tokenizer works otherwise here than in training: ${JSON.stringify(text)}` +
          ` is read as ${JSON.stringify(this.decode(ids))}`,
      );
    }
  }
}

function encode(tokenizer, text) {
  return text ? tokenizer.encode(text, { add_special_tokens: false }).ids : [];
}
