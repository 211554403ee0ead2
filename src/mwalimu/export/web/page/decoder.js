// One sequence through the graph: token ids in, the next token's logits out.

export class Decoder {
  #ort;
  #session;
  #shape;
  #limit;
  #past = {};
  #ids = [];

  /**
   * `shape` is that of an empty cache: [1, key-value heads, 0, size of a head]. Beyond `limit` ids
   * other rotary frequencies hold (longrope): a sequence that crosses it is read anew.
   */
  constructor(ort, session, shape, limit) {
    this.#ort = ort;
    this.#session = session;
    this.#shape = shape;
    this.#limit = limit;
    this.reset();
  }

  /** Forgets the sequence. */
  reset() {
    this.#ids = [];
    this.#empty();
  }

  #empty() {
    this.#release();
    const names = this.#session.inputNames.filter((name) => name.startsWith("past_key_values."));
    const empty = () => new this.#ort.Tensor("float32", new Float32Array(0), this.#shape);
    this.#past = Object.fromEntries(names.map((name) => [name, empty()]));
  }

  /** Appends at least one id; the logits after the last one, Float32Array [vocabulary]. */
  async feed(ids) {
    const crosses = this.#ids.length === this.#limit;
    this.#ids.push(...ids);
    if (crosses) this.#empty();
    const { logits, ...present } = await this.#session.run({
      ...this.#past,
      input_ids: this.#row(crosses ? this.#ids : ids),
      attention_mask: this.#row(Array(this.#ids.length).fill(1)),
    });
    this.#release();
    this.#past = Object.fromEntries(
      Object.entries(present).map(([name, tensor]) => [
        name.replace("present.", "past_key_values."),
        tensor,
      ]),
    );
    return logits.data.subarray(-logits.dims.at(-1));
  }

  #row(values) {
    return new this.#ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
  }

  /** Memory of a GPU is not garbage collected. */
  #release() {
    Object.values(this.#past).forEach((tensor) => tensor.dispose());
  }
}
