// Helpers for the document. Text is always inserted as text nodes, never as markup.

/** A node, or text for a text node. */
export type Child = Node | string

/**
 * Returns the element of index.html with this id. Throws when it is missing or of another type, which is a
 * bug of the page.
 */
export function find<E extends Element>(id: string, type: abstract new () => E): E {
  const found = document.getElementById(id)
  if (!(found instanceof type)) throw new Error(`index.html has no ${type.name} with the id ${id}`)
  return found
}

/** Creates an element. Attributes with the value undefined are left out. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string | undefined>> = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const created = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined) created.setAttribute(name, value)
  }
  created.append(...children)
  return created
}

/** Creates a button. Its type is `button`, so that it does not submit a form. */
export function button(
  label: Child,
  options: { readonly class?: string; readonly title?: string; readonly onClick: () => void },
): HTMLButtonElement {
  const created = element('button', { type: 'button', class: options.class, title: options.title }, label)
  created.addEventListener('click', options.onClick)
  return created
}

/**
 * Sets the text of `node`. An equal text is not set again, so that screen readers, selections and focus are
 * not disturbed.
 */
export function setText(node: Node, text: string): void {
  if (node.textContent !== text) node.textContent = text
}

/**
 * Makes `children` the only children of `parent`, in this order. Elements that are already in place are not
 * moved and keep their focus.
 */
export function setChildren(parent: Element, children: readonly Element[]): void {
  const remaining = new Set<Element>(children)
  for (const child of Array.from(parent.children)) {
    if (!remaining.has(child)) child.remove()
  }
  let next = parent.firstElementChild
  for (const child of children) {
    if (child === next) next = next.nextElementSibling
    else parent.insertBefore(child, next)
  }
}

/**
 * Caches values by key. A value is created once and kept while each drawing asks for its key, so that
 * `setChildren` finds the same elements again.
 */
export class KeyedCache<T> {
  #kept = new Map<string, { readonly version: unknown; readonly value: T }>()
  #requested = new Map<string, { readonly version: unknown; readonly value: T }>()

  /**
   * Returns the value of `key`. Creates it when there is none, or when `version` differs from the last one.
   */
  get(key: string, version: unknown, make: () => T): T {
    const kept = this.#kept.get(key)
    const entry = kept && kept.version === version ? kept : { version, value: make() }
    this.#requested.set(key, entry)
    return entry.value
  }

  /** Ends a drawing: removes all values that it did not ask for. */
  sweep(): void {
    this.#kept = this.#requested
    this.#requested = new Map()
  }
}
