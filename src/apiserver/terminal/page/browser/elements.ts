/** The page's elements by their ids, and lists whose texts are never markup. */

/** The element with an id; the page is made with it. */
export function element<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no #${id}`);
  return found as T;
}

/** One line of a list. */
export interface Line {
  key: string;
  title: string;
  note: string;
  /** Beside the title: a state. */
  state: string;
  className: string;
  isCurrent: boolean;
  isEnabled: boolean;
}

/** Shows lines as buttons; buttons of lines that stay keep their place and focus. */
export function showList(list: HTMLElement, lines: readonly Line[], onChoose: (key: string) => void): void {
  const known = new Map([...list.children].map((item) => [(item as HTMLElement).dataset['key'], item]));
  const items = lines.map((line) => {
    const item = known.get(line.key) ?? createItem(line.key, onChoose);
    fill(item, line);
    return item;
  });
  const isSame =
    items.length === list.children.length && items.every((item, at) => list.children[at] === item);
  if (!isSame) list.replaceChildren(...items);
}

function createItem(key: string, onChoose: (key: string) => void): HTMLLIElement {
  const item = document.createElement('li');
  item.dataset['key'] = key;
  const button = document.createElement('button');
  for (const [tag, className] of [
    ['span', 'dot'],
    ['span', 'title'],
    ['span', 'state'],
    ['small', 'note'],
  ] as const) {
    const part = document.createElement(tag);
    part.className = className;
    button.append(part);
  }
  button.addEventListener('click', () => onChoose(key));
  item.append(button);
  return item;
}

function fill(item: Element, line: Line): void {
  const button = item.querySelector('button');
  if (button === null) return;
  item.className = line.className;
  button.disabled = !line.isEnabled;
  button.setAttribute('aria-current', String(line.isCurrent));
  for (const [className, text] of [
    ['title', line.title],
    ['state', line.state],
    ['note', line.note],
  ] as const) {
    const part = button.querySelector(`.${className}`);
    if (part !== null && part.textContent !== text) part.textContent = text;
  }
}
