/** The page's style with the terminal emulator's, as one text; the bundler makes it (scripts/page-bundle.mjs). */
declare const style: string;
export = style;
