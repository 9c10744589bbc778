// Holds waiting items in priorities, which have an order of precedence. Within a priority, groups take turns:
// a group with thousands of items delays the only item of another group by one item.

/**
 * The priorities, in their order of precedence: `urgent` is for work that must not wait for other work,
 * `background` for work that can.
 */
export const priorities = ['urgent', 'normal', 'background'] as const
export type Priority = (typeof priorities)[number]

/** Where an item waits. */
export interface Place {
  readonly priority: Priority
  readonly group: string
}

interface Level<Item> {
  readonly priority: Priority
  /** The items of each group, oldest first. The group whose turn is next comes first. */
  readonly groups: Map<string, Set<Item>>
  /** How many items of preceding priorities were taken while this priority had items. */
  passed: number
}

/** A priority that was passed over this often has the next turn, so that no priority starves another one. */
const passedMax = 3

export class FairQueue<Item extends object | string> {
  readonly #levels: readonly Level<Item>[] = priorities.map((priority) => ({
    priority,
    groups: new Map<string, Set<Item>>(),
    passed: 0,
  }))
  #size = 0

  /** The number of waiting items. */
  get size(): number {
    return this.#size
  }

  /** Adds an item behind the others of its group. It must not wait in the same place already. */
  add(item: Item, { group, priority }: Place): void {
    const { groups } = this.#level(priority)
    const items = groups.get(group)
    if (items) items.add(item)
    else groups.set(group, new Set([item]))
    this.#size += 1
  }

  /** Removes an item from its place. Has no effect when it does not wait there. */
  remove(item: Item, { group, priority }: Place): void {
    const { groups } = this.#level(priority)
    const items = groups.get(group)
    if (!items?.delete(item)) return
    this.#size -= 1
    if (items.size === 0) groups.delete(group)
  }

  /**
   * Takes the item whose turn it is, or returns undefined when there is none. Places for which `mayTake`
   * returns false are left out. Default: all places. With `only`, the other priorities are left out.
   */
  take(mayTake: (place: Place) => boolean = () => true, only?: Priority): Item | undefined {
    const overdue = this.#levels.filter(({ passed }) => passed >= passedMax)
    const levels = only === undefined ? [...overdue, ...this.#levels] : [this.#level(only)]
    for (const from of levels) {
      for (const [group, items] of from.groups) {
        if (!mayTake({ priority: from.priority, group })) continue
        const [item] = items
        if (item === undefined) continue
        this.#countTurn(from)
        this.remove(item, { priority: from.priority, group })
        // The next turn of this group comes after those of all other groups.
        if (from.groups.delete(group)) from.groups.set(group, items)
        return item
      }
    }
    return undefined
  }

  /** Returns the number of items that wait in all priorities of a group. */
  sizeOf(group: string): number {
    return this.#levels.reduce((sum, { groups }) => sum + (groups.get(group)?.size ?? 0), 0)
  }

  /** Returns the group with the most waiting items. Undefined when nothing waits. */
  largest(): { group: string; size: number } | undefined {
    const groups = new Set(this.#levels.flatMap((priority) => [...priority.groups.keys()]))
    let largest: { group: string; size: number } | undefined
    for (const group of groups) {
      const size = this.sizeOf(group)
      if (!largest || size > largest.size) largest = { group, size }
    }
    return largest
  }

  clear(): void {
    for (const state of this.#levels) {
      state.groups.clear()
      state.passed = 0
    }
    this.#size = 0
  }

  #level(priority: Priority): Level<Item> {
    const found = this.#levels.find((state) => state.priority === priority)
    if (!found) throw new Error(`unreachable: there is no priority "${priority}"`)
    return found
  }

  #countTurn(taken: Level<Item>): void {
    const index = this.#levels.indexOf(taken)
    taken.passed = 0
    for (const later of this.#levels.slice(index + 1)) if (later.groups.size > 0) later.passed += 1
  }
}
