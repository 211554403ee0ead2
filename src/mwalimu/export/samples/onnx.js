// Answers a prompt: npm install onnxruntime-node @huggingface/tokenizers @huggingface/jinja
// node sample.js "your prompt"
const { readFileSync } = require("node:fs");
const { Template } = require("@huggingface/jinja");
const { Tokenizer } = require("@huggingface/tokenizers");
const { InferenceSession, Tensor } = require("onnxruntime-node");

const text = (name) => readFileSync(`${__dirname}/${name}`, "utf8");
const json = (name) => JSON.parse(text(name));
const [settings, config, special] = [json("export.json"), json("config.json"), json("tokenizer_config.json")];
const tokenizer = new Tokenizer(json("tokenizer.json"), special);
const { rope_type: rope, original_max_position_embeddings: limit } = config.rope_parameters ?? {};
const integers = (row) => new Tensor("int64", row.map(BigInt), [1, row.length]);

async function answer(prompt, most = 256) {
  const chat = { messages: [{ role: "user", content: prompt }], add_generation_prompt: true };
  const asked = new Template(text("chat_template.jinja")).render({ ...special, ...chat });
  const session = await InferenceSession.create(`${__dirname}/${settings.weights}`);
  const past = session.inputMetadata.filter((input) => input.name.startsWith("past_key_values"));
  const size = config.head_dim ?? config.hidden_size / config.num_attention_heads;
  const empty = past.map(({ name, type, shape }) => [name, new Tensor(type, [], [1, shape[1], 0, size])]);
  const ids = tokenizer.encode(asked, { add_special_tokens: false }).ids;
  const [begin, end] = [ids.length, Math.min(ids.length + most, settings.context)];
  let cache = {};
  while (ids.length < end) {
    // Beyond this limit the model turns every position otherwise, so it reads all of them anew.
    const whole = ids.length === begin || (rope === "longrope" && ids.length === limit + 1);
    const input = { input_ids: integers(whole ? ids : ids.slice(-1)), attention_mask: integers(ids.map(() => 1)) };
    const { logits, ...present } = await session.run({ ...input, ...(whole ? Object.fromEntries(empty) : cache) });
    ids.push(logits.data.reduce((best, score, id, scores) => (score > scores[best] ? id : best), 0));
    if (settings.ends.includes(ids.at(-1))) break;
    cache = Object.fromEntries(past.map(({ name }) => [name, present[name.replace("past_key_values", "present")]]));
  }
  return tokenizer.decode(ids.slice(begin), { skip_special_tokens: true });
}

answer(process.argv[2]).then(console.log);
