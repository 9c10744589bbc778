// The connection in plain words.
import type { Chat } from './chat.js'
import { find, setText } from './dom.js'
import type { Resumption } from './room.js'
import { count } from './error-text.js'

/** How long the good news of a return is shown. */
const newsMs = 8000

export class StatusView {
  readonly #chat: Chat
  readonly #bar = find('bar', HTMLElement)
  readonly #text = find('status-text', HTMLElement)
  readonly #count = find('status-count', HTMLElement)
  readonly #tryNow = find('try-now', HTMLButtonElement)
  #news: Resumption | undefined
  #newsTimer: ReturnType<typeof setTimeout> | undefined
  #countTimer: ReturnType<typeof setInterval> | undefined

  /** `signal` ends it with the chat. */
  constructor(chat: Chat, signal: AbortSignal) {
    this.#chat = chat
    this.#tryNow.addEventListener('click', () => chat.connection.tryNow(), { signal })
    signal.addEventListener('abort', () => {
      clearTimeout(this.#newsTimer)
      clearInterval(this.#countTimer)
    })
  }

  draw(): void {
    const { state } = this.#chat.connection
    this.#follow(this.#chat.resumption)
    this.#bar.dataset['state'] = state.kind
    // A phone has better uses for a line than to say that all is well.
    this.#bar.classList.toggle('calm', state.kind === 'connected' && !this.#hasNews)
    this.#tryNow.hidden = state.kind !== 'waiting'
    setText(this.#text, this.#words())
    this.#drawCount()
  }

  get #hasNews(): boolean {
    return this.#newsTimer !== undefined
  }

  #words(): string {
    const { state } = this.#chat.connection
    switch (state.kind) {
      case 'connecting':
        return 'Connecting…'
      case 'connected':
        return this.#news && this.#hasNews ? resumptionWords(this.#news) : 'Connected'
      case 'waiting':
        return navigator.onLine ? state.why : 'This device is offline.'
      case 'over':
        return 'Not connected'
    }
  }

  /** Seconds are not read aloud, one after the other: they stand beside the live text. */
  #drawCount(): void {
    const { state } = this.#chat.connection
    if (state.kind !== 'waiting') {
      clearInterval(this.#countTimer)
      this.#countTimer = undefined
      return setText(this.#count, '')
    }
    this.#countTimer ??= setInterval(() => this.#drawCount(), 250)
    const seconds = Math.ceil((state.retryByMs - Date.now()) / 1000)
    setText(this.#count, seconds > 0 ? `Trying again within ${seconds} s` : 'Trying…')
  }

  #follow(resumption: Resumption | undefined): void {
    if (resumption === this.#news) return
    this.#news = resumption
    clearTimeout(this.#newsTimer)
    this.#newsTimer = resumption && setTimeout(() => this.#endNews(), newsMs)
  }

  #endNews(): void {
    this.#newsTimer = undefined
    this.draw()
  }
}

function resumptionWords({ missed, caughtUp }: Resumption): string {
  if (missed === 'maybe') return 'Connected again. Something may be missing; the place is marked.'
  return caughtUp === 0
    ? 'Connected again. You missed nothing.'
    : `Connected again: ${count(caughtUp, 'message')} caught up, you missed nothing.`
}
