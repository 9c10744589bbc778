// The lists at the sides. On a narrow screen they are drawers, of which one is open at a time. On a wide
// screen they are always visible.
import { find } from './dom.js'

const narrow = '(max-width: 820px)'

export class Panels {
  readonly #drawers = [
    { panel: find('rooms', HTMLElement), opener: find('show-rooms', HTMLButtonElement) },
    { panel: find('people', HTMLElement), opener: find('show-people', HTMLButtonElement) },
  ]
  readonly #narrow = matchMedia(narrow)

  constructor(signal: AbortSignal) {
    for (const { panel, opener } of this.#drawers) {
      opener.addEventListener('click', () => (this.#isOpen(panel) ? this.close() : this.#open(panel)), {
        signal,
      })
    }
    // An overlay covers the page beside an open drawer. A touch there closes the drawer.
    find('chat', HTMLElement).addEventListener('pointerdown', (event) => this.#onPointer(event), { signal })
    this.#narrow.addEventListener('change', () => this.close(), { signal })
    this.close()
  }

  /** Closes the open drawer and returns the focus to its button. Returns false when none was open. */
  close(): boolean {
    const open = this.#drawers.find(({ panel }) => this.#isOpen(panel))
    const hadFocus = open?.panel.contains(document.activeElement) ?? false
    this.#show(undefined)
    if (open && hadFocus) open.opener.focus()
    return open !== undefined
  }

  #onPointer(event: PointerEvent): void {
    const { target } = event
    const isInside = this.#drawers.some(
      ({ panel, opener }) => target instanceof Node && (panel.contains(target) || opener.contains(target)),
    )
    if (!isInside) this.close()
  }

  #open(panel: HTMLElement): void {
    this.#show(panel)
    panel.focus()
  }

  #isOpen(panel: HTMLElement): boolean {
    return panel.classList.contains('open')
  }

  #show(opened: HTMLElement | undefined): void {
    for (const { panel, opener } of this.#drawers) {
      panel.classList.toggle('open', panel === opened)
      opener.setAttribute('aria-expanded', String(panel === opened))
      // A closed drawer must also leave the tab order and be hidden from screen readers.
      panel.inert = this.#narrow.matches && panel !== opened
    }
  }
}
