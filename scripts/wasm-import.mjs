// An esbuild plugin: a WebAssembly file is imported as `load`, which gives its bytes. They are needed once, to compile them:
// as a text in the bundle they would be in memory three times over, and stay there.

/** `loaderOf` makes the JavaScript expression of the function that reads a file; it runs where the bundle does. */
export const wasmImport = (loaderOf) => ({
  name: 'wasm-import',
  setup({ onLoad }) {
    onLoad({ filter: /\.wasm$/ }, ({ path }) => ({ contents: `export const load = ${loaderOf(path)};` }));
  },
});
