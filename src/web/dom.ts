// The few things the page does with the document. Text enters as text nodes and nowhere as markup.

/** A node, or text that becomes one. */
export type Child = Node | string

/** Finds what index.html promises; an id that is missing or of another kind is a bug of ours. */
export function find<E extends Element>(id: string, type: abstract new () => E): E {
  const found = document.getElementById(id)
  if (!(found instanceof type)) throw new Error(`index.html has no ${type.name} with the id ${id}`)
  return found
}

/** Makes an element. Attributes that are undefined are left out. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string | undefined>> = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined) made.setAttribute(name, value)
  }
  made.append(...children)
  return made
}

/** A real button: reached by keyboard, and never a form's by accident. */
export function button(
  label: Child,
  options: { readonly class?: string; readonly title?: string; readonly onClick: () => void },
): HTMLButtonElement {
  const made = element('button', { type: 'button', class: options.class, title: options.title }, label)
  made.addEventListener('click', options.onClick)
  return made
}

/** Only what differs is touched, so that screen readers, selections and focus are left in peace. */
export function setText(node: Node, text: string): void {
  if (node.textContent !== text) node.textContent = text
}

/** Gives `parent` exactly these children, in order. Nodes that are already in place are not moved and keep their focus. */
export function arrange(parent: Element, children: readonly Element[]): void {
  const wanted = new Set<Element>(children)
  for (const child of Array.from(parent.children)) {
    if (!wanted.has(child)) child.remove()
  }
  let next = parent.firstElementChild
  for (const child of children) {
    if (child === next) next = next.nextElementSibling
    else parent.insertBefore(child, next)
  }
}

/** Things by key, each made once and kept while its key is asked for: what makes `arrange` cheap. */
export class Keyed<T> {
  #kept = new Map<string, { readonly version: unknown; readonly thing: T }>()
  #asked = new Map<string, { readonly version: unknown; readonly thing: T }>()

  /** The thing of `key`, made anew when `version` is another than last time. */
  get(key: string, version: unknown, make: () => T): T {
    const kept = this.#kept.get(key)
    const entry = kept && kept.version === version ? kept : { version, thing: make() }
    this.#asked.set(key, entry)
    return entry.thing
  }

  /** Ends a drawing: things that it did not ask for are forgotten. */
  sweep(): void {
    this.#kept = this.#asked
    this.#asked = new Map()
  }
}
