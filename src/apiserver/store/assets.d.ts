/** Files that esbuild turns into values: SQL as text; WebAssembly as bytes, or compiled where another thread has done that. */
declare module '*.sql' {
  const text: string;
  export { text as default };
}

declare module '*.wasm' {
  const program: Uint8Array<ArrayBuffer> | WebAssembly.Module;
  export { program as default };
}

/** What is used of it; Node's types leave it to those of browsers. */
declare namespace WebAssembly {
  type Imports = Record<string, Record<string, unknown>>;
  type Exports = Record<string, unknown>;
  interface Instance {
    exports: Exports;
  }
  const Module: { new (bytes: Uint8Array): Module; prototype: Module };
  function compile(bytes: Uint8Array): Promise<Module>;
  function instantiate(module: Module, imports: Imports): Promise<Instance>;
}
