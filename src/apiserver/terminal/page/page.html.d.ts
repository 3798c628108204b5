/** The page as text; the bundler puts it into the program. */
declare const page: string;
export = page;
