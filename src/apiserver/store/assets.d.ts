/** Files that esbuild turns into values: SQL as text, WebAssembly as bytes. */
declare module '*.sql' {
  const text: string;
  export { text as default };
}

declare module '*.wasm' {
  const bytes: Uint8Array<ArrayBuffer>;
  export { bytes as default };
}
