// On a narrow screen the lists at the sides are drawers, one at a time. On a wide one they are simply there.
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
    // Whatever lies beside an open drawer is behind a veil: a touch there closes it.
    find('chat', HTMLElement).addEventListener('pointerdown', (event) => this.#onPointer(event), { signal })
    this.#narrow.addEventListener('change', () => this.close(), { signal })
    this.close()
  }

  /** False: none was open. The focus returns to the button that opened it. */
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

  #show(wanted: HTMLElement | undefined): void {
    for (const { panel, opener } of this.#drawers) {
      panel.classList.toggle('open', panel === wanted)
      opener.setAttribute('aria-expanded', String(panel === wanted))
      // A closed drawer is out of sight: out of the tab order and of readers' reach as well.
      panel.inert = this.#narrow.matches && panel !== wanted
    }
  }
}
