// ONNX Runtime Web, from this folder alone: on the GPU where there is a real one, or else in
// WebAssembly, on several threads where the server isolates the page (COOP and COEP).
import { Decoder } from "./decoder.js";

const BACKENDS = {
  webgpu: { module: "ort.webgpu.js", wasm: "ort-wasm-simd-threaded.asyncify" },
  wasm: { module: "ort.wasm.js", wasm: "ort-wasm-simd-threaded" },
};

/** "webgpu" or "wasm": the faster that this machine has. */
export async function bestBackend() {
  const adapter = await globalThis.navigator?.gpu?.requestAdapter().catch(() => null);
  return adapter && !adapter.info?.isFallbackAdapter ? "webgpu" : "wasm";
}

/** The graph as a decoder. `read` gives the bytes of a file of this folder. */
export async function openDecoder(read, backend) {
  const { module, wasm } = BACKENDS[backend];
  const ort = await import(`./vendor/${module}`);
  ort.env.wasm.wasmPaths = { mjs: new URL(`./vendor/${wasm}.js`, import.meta.url).href };
  ort.env.wasm.wasmBinary = await read(`vendor/${wasm}.wasm`);
  if (!globalThis.crossOriginIsolated) ort.env.wasm.numThreads = 1;
  const json = async (name) => JSON.parse(new TextDecoder().decode(await read(name)));
  const { decoder } = (await json("genai_config.json")).model;
  const rope = (await json("config.json")).rope_parameters ?? {};
  const limit = rope.rope_type === "longrope" ? rope.original_max_position_embeddings : undefined;
  const weights = `${decoder.filename}.data`;
  const options = {
    executionProviders: [backend],
    logSeverityLevel: 3, // errors
    externalData: [{ path: weights, data: await read(weights) }],
    preferredOutputLocation: cacheLocation(decoder.num_hidden_layers, backend),
  };
  const session = await ort.InferenceSession.create(await read(decoder.filename), options);
  const shape = [1, decoder.num_key_value_heads, 0, decoder.head_size];
  return new Decoder(ort, session, shape, limit);
}

/** The keys and values stay where they are computed. */
function cacheLocation(layers, backend) {
  const place = backend === "webgpu" ? "gpu-buffer" : "cpu";
  const names = Array.from({ length: layers }, (_, i) => [`present.${i}.key`, `present.${i}.value`]);
  return Object.fromEntries(names.flat().map((name) => [name, place]));
}
