/** Styles are imported for the bundler, which puts them into page.bundle.css. */
declare module '*.css';
