// Reads {page, tokenizer, speech, chats} a line; writes what the page's own code makes of each.
import { createInterface } from "node:readline";

for await (const line of createInterface({ input: process.stdin })) {
  const { page, tokenizer, speech, chats } = JSON.parse(line);
  const { Speech } = await import(page);
  let answer;
  try {
    const spoken = new Speech(tokenizer, speech);
    const made = chats.map((chat) => spoken.encodePrompt(chat));
    answer = { made, texts: made.map((ids) => spoken.decode(ids)) };
  } catch (error) {
    answer = { error: error.message };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
