/** Sets of field paths as tries; the operations never change their operands, and give one back where it is the result. */
import type { FieldPath, PathElement } from './path-element.ts';

/** What most sets have on most of their levels; nothing is ever added to these two. */
const NO_MEMBERS = new Set<PathElement>();
const NO_CHILDREN = new Map<PathElement, FieldSet>();

/** A set of paths. A path may be a member, lead to members, or both. */
export class FieldSet {
  static readonly #EMPTY = new FieldSet(NO_MEMBERS, NO_CHILDREN);

  #members: Set<PathElement>;
  #children: Map<PathElement, FieldSet>;

  private constructor(members: Set<PathElement>, children: Map<PathElement, FieldSet>) {
    this.#members = members;
    this.#children = children;
  }

  /** Creates a set of paths. */
  static of(paths: Iterable<FieldPath> = []): FieldSet {
    let set: FieldSet | undefined;
    for (const path of paths) (set ??= new FieldSet(NO_MEMBERS, NO_CHILDREN)).#insert(path, 0);
    return set ?? FieldSet.#EMPTY;
  }

  /** Creates a set from its top level: `members` are in it, `children` hold what lies below an element. */
  static node(
    members: Iterable<PathElement>,
    children: Iterable<readonly [PathElement, FieldSet]>,
  ): FieldSet {
    const own = new Set(members);
    const below = new Map([...children].filter(([, set]) => !set.isEmpty));
    return new FieldSet(own.size === 0 ? NO_MEMBERS : own, below.size === 0 ? NO_CHILDREN : below);
  }

  #insert(path: FieldPath, at: number): void {
    const element = path[at];
    if (element === undefined) return; // the root is never a member
    if (at === path.length - 1) {
      if (this.#members === NO_MEMBERS) this.#members = new Set();
      this.#members.add(element);
      return;
    }
    let child = this.#children.get(element);
    if (child === undefined) {
      child = new FieldSet(NO_MEMBERS, NO_CHILDREN);
      if (this.#children === NO_CHILDREN) this.#children = new Map();
      this.#children.set(element, child);
    }
    child.#insert(path, at + 1);
  }

  get isEmpty(): boolean {
    return this.#members.size === 0 && this.#children.size === 0;
  }

  /** The elements of the top level that are members. */
  get members(): ReadonlySet<PathElement> {
    return this.#members;
  }

  /** What lies below the elements of the top level; never empty sets. */
  get children(): ReadonlyMap<PathElement, FieldSet> {
    return this.#children;
  }

  has(path: FieldPath): boolean {
    const [first, ...rest] = path;
    if (first === undefined) return false;
    if (rest.length === 0) return this.#members.has(first);
    return this.#children.get(first)?.has(rest) === true;
  }

  /** Every path, sorted; at each level members come before what lies below. */
  *paths(prefix: FieldPath = []): Generator<FieldPath> {
    for (const element of [...this.#members].sort()) yield [...prefix, element];
    for (const element of [...this.#children.keys()].sort()) {
      yield* this.#children.get(element)?.paths([...prefix, element]) ?? [];
    }
  }

  /** Paths of either set. */
  union(other: FieldSet): FieldSet {
    if (other.isEmpty) return this;
    if (this.isEmpty) return other;
    let [members, children] = [this.#members, this.#children];
    for (const element of other.#members) {
      if (members.has(element)) continue;
      if (members === this.#members) members = new Set(members);
      members.add(element);
    }
    for (const [element, theirs] of other.#children) {
      const ours = children.get(element);
      const both = ours === undefined ? theirs : ours.union(theirs);
      if (both === ours) continue;
      if (children === this.#children) children = new Map(children);
      children.set(element, both);
    }
    const isSame = members === this.#members && children === this.#children;
    return isSame ? this : new FieldSet(members, children);
  }

  /** Paths of this set that are not in the other; a path goes without what lies below it. */
  difference(other: FieldSet): FieldSet {
    let [members, children] = [this.#members, this.#children];
    for (const element of other.#members) {
      if (!members.has(element)) continue;
      if (members === this.#members) members = new Set(members);
      members.delete(element);
    }
    for (const [element, theirs] of other.#children) {
      const ours = children.get(element);
      const rest = ours?.difference(theirs);
      if (rest === undefined || rest === ours) continue;
      if (children === this.#children) children = new Map(children);
      if (rest.isEmpty) children.delete(element);
      else children.set(element, rest);
    }
    const isSame = members === this.#members && children === this.#children;
    return isSame ? this : new FieldSet(members, children);
  }

  /** Paths of both sets. */
  intersection(other: FieldSet): FieldSet {
    const members = [...this.#members].filter((element) => other.#members.has(element));
    const children: (readonly [PathElement, FieldSet])[] = [];
    for (const [element, ours] of this.#children) {
      const theirs = other.#children.get(element);
      if (theirs !== undefined) children.push([element, ours.intersection(theirs)]);
    }
    return FieldSet.node(members, children);
  }

  equals(other: FieldSet): boolean {
    if (this === other) return true;
    if (this.#members.size !== other.#members.size || this.#children.size !== other.#children.size)
      return false;
    for (const element of this.#members) if (!other.#members.has(element)) return false;
    for (const [element, ours] of this.#children) {
      const theirs = other.#children.get(element);
      if (theirs === undefined || !ours.equals(theirs)) return false;
    }
    return true;
  }
}
