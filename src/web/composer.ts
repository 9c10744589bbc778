// The message box. Enter sends and Shift+Enter begins a new line. Each conversation keeps its own unsent
// text.
import type { Chat } from './chat.js'
import { type Conversation, conversationTitle } from './conversation.js'
import { find, setText } from './dom.js'
import { dataBytes } from './json.js'

const defaultHint = 'Enter sends. Shift + Enter begins a new line.'

export class Composer {
  readonly #chat: Chat
  readonly #form = find('composer', HTMLFormElement)
  readonly #box = find('message', HTMLTextAreaElement)
  readonly #hint = find('composer-hint', HTMLElement)
  readonly #send = find('send', HTMLButtonElement)
  readonly #drafts = new WeakMap<Conversation, string>()
  #current: Conversation | undefined

  constructor(chat: Chat, signal: AbortSignal) {
    this.#chat = chat
    this.#box.value = ''
    this.#box.addEventListener('input', () => this.draw(), { signal })
    this.#box.addEventListener('keydown', (event) => this.#onKey(event), { signal })
    this.#form.addEventListener(
      'submit',
      (event) => {
        event.preventDefault()
        this.#submit()
      },
      { signal },
    )
  }

  focus(): void {
    this.#box.focus()
  }

  draw(): void {
    const { active } = this.#chat
    if (active !== this.#current) this.#change(active)
    const isEnded = this.#chat.connection.state.kind === 'ended'
    this.#form.hidden = isEnded || active === undefined || active.membership.kind === 'refused'
    if (!active) return
    const title = conversationTitle(active)
    setText(find('message-label', HTMLElement), `Message to ${title}`)
    this.#box.placeholder = `Write to ${title}`
    this.#drawHint(active)
  }

  #drawHint(active: Conversation): void {
    const bytes = dataBytes(this.#box.value)
    const bytesMax = this.#chat.connection.messageBytesMax
    const isTooLong = bytes > bytesMax
    const problem = isTooLong
      ? `The message is too long: ${formatNumber(bytes)} of ${formatNumber(bytesMax)} bytes.`
      : active.sender.isFull && 'Too many messages are waiting. Please wait until the connection is back.'
    const isNearlyFull = bytes > bytesMax * 0.8
    setText(
      this.#hint,
      problem || (isNearlyFull ? `${formatNumber(bytes)} of ${formatNumber(bytesMax)} bytes.` : defaultHint),
    )
    this.#hint.classList.toggle('problem', Boolean(problem))
    this.#box.setAttribute('aria-invalid', String(isTooLong))
    // `disabled` would take the button out of the tab order, and a screen reader could not announce why it
    // does nothing.
    this.#send.setAttribute('aria-disabled', String(Boolean(problem) || this.#box.value.trim() === ''))
  }

  #change(active: Conversation | undefined): void {
    if (this.#current) this.#drafts.set(this.#current, this.#box.value)
    this.#box.value = (active && this.#drafts.get(active)) ?? ''
    this.#current = active
  }

  #onKey(event: KeyboardEvent): void {
    // While an input method composes a character, Enter confirms that character.
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
    event.preventDefault()
    this.#submit()
  }

  #submit(): void {
    const text = this.#box.value.trim()
    if (text === '' || this.#send.getAttribute('aria-disabled') === 'true') return this.#box.focus()
    this.#box.value = ''
    this.#chat.active?.sender.send(text)
    this.#box.focus()
    this.draw()
  }
}

function formatNumber(value: number): string {
  return value.toLocaleString('en')
}
