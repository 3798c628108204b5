/** The page's program, app.ts with the terminal emulator, as one text; the bundler makes it (scripts/page-bundle.mjs). */
declare const script: string;
export = script;
