// Shows the state of the connection in the bar above the chat.
import type { Chat } from './chat.js'
import { find, setText } from './dom.js'
import type { RecoveryOutcome } from './room.js'
import { countText } from './error-text.js'

/** How long the outcome of a reconnect is shown. */
const outcomeShownMs = 8000

export class StatusView {
  readonly #chat: Chat
  readonly #bar = find('bar', HTMLElement)
  readonly #text = find('status-text', HTMLElement)
  readonly #countdown = find('status-count', HTMLElement)
  readonly #reconnectButton = find('try-now', HTMLButtonElement)
  #outcome: RecoveryOutcome | undefined
  #outcomeTimer: ReturnType<typeof setTimeout> | undefined
  #countdownTimer: ReturnType<typeof setInterval> | undefined

  /** `signal` stops the timers when the chat ends. */
  constructor(chat: Chat, signal: AbortSignal) {
    this.#chat = chat
    this.#reconnectButton.addEventListener('click', () => chat.connection.reconnectNow(), { signal })
    signal.addEventListener('abort', () => {
      clearTimeout(this.#outcomeTimer)
      clearInterval(this.#countdownTimer)
    })
  }

  draw(): void {
    const { state } = this.#chat.connection
    this.#showOutcome(this.#chat.recovery)
    this.#bar.dataset['state'] = state.kind
    // On a narrow screen the status is hidden while there is nothing to report.
    this.#bar.classList.toggle('idle', state.kind === 'connected' && !this.#showsOutcome)
    this.#reconnectButton.hidden = state.kind !== 'waiting'
    setText(this.#text, this.#statusText())
    this.#drawCountdown()
  }

  get #showsOutcome(): boolean {
    return this.#outcomeTimer !== undefined
  }

  #statusText(): string {
    const { state } = this.#chat.connection
    switch (state.kind) {
      case 'connecting':
        return 'Connecting…'
      case 'connected':
        return this.#outcome && this.#showsOutcome ? outcomeText(this.#outcome) : 'Connected'
      case 'waiting':
        return navigator.onLine ? state.reason : 'This device is offline.'
      case 'ended':
        return 'Not connected'
    }
  }

  /** The countdown is beside the live region, so that a screen reader does not announce every second. */
  #drawCountdown(): void {
    const { state } = this.#chat.connection
    if (state.kind !== 'waiting') {
      clearInterval(this.#countdownTimer)
      this.#countdownTimer = undefined
      return setText(this.#countdown, '')
    }
    this.#countdownTimer ??= setInterval(() => this.#drawCountdown(), 250)
    const seconds = Math.ceil((state.retryByMs - Date.now()) / 1000)
    setText(this.#countdown, seconds > 0 ? `Reconnecting within ${seconds} s` : 'Reconnecting…')
  }

  #showOutcome(recovery: RecoveryOutcome | undefined): void {
    if (recovery === this.#outcome) return
    this.#outcome = recovery
    clearTimeout(this.#outcomeTimer)
    this.#outcomeTimer = recovery && setTimeout(() => this.#hideOutcome(), outcomeShownMs)
  }

  #hideOutcome(): void {
    this.#outcomeTimer = undefined
    this.draw()
  }
}

function outcomeText({ missed, recoveredCount }: RecoveryOutcome): string {
  if (missed === 'maybe') return 'Reconnected. Messages may be missing where marked.'
  return recoveredCount === 0
    ? 'Reconnected. You missed nothing.'
    : `Reconnected. ${countText(recoveredCount, 'message')} recovered, you missed nothing.`
}
