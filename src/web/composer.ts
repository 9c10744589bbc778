// The message box. Enter sends, Shift+Enter begins a new line; each conversation keeps what was half written in it.
import type { Chat } from './chat.js'
import { type Conversation, placeName } from './conversation.js'
import { find, setText } from './dom.js'
import { dataBytes } from './json.js'

const hint = 'Enter sends, Shift + Enter begins a new line.'

export class Composer {
  readonly #chat: Chat
  readonly #form = find('composer', HTMLFormElement)
  readonly #box = find('message', HTMLTextAreaElement)
  readonly #hint = find('composer-hint', HTMLElement)
  readonly #send = find('send', HTMLButtonElement)
  readonly #halfWritten = new WeakMap<Conversation, string>()
  #shown: Conversation | undefined

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
    if (active !== this.#shown) this.#change(active)
    const isOver = this.#chat.connection.state.kind === 'over'
    this.#form.hidden = isOver || active === undefined || active.membership.kind === 'refused'
    if (!active) return
    const place = placeName(active)
    setText(find('message-label', HTMLElement), `Message to ${place}`)
    this.#box.placeholder = `Write to ${place}`
    this.#drawHint(active)
  }

  #drawHint(active: Conversation): void {
    const bytes = dataBytes(this.#box.value)
    const bytesMax = this.#chat.connection.messageBytesMax
    const isTooLong = bytes > bytesMax
    const problem = isTooLong
      ? `Too long: ${number(bytes)} of ${number(bytesMax)} bytes.`
      : active.outbox.isFull && 'Enough is waiting: please wait for the connection.'
    const isNearlyFull = bytes > bytesMax * 0.8
    setText(this.#hint, problem || (isNearlyFull ? `${number(bytes)} of ${number(bytesMax)} bytes.` : hint))
    this.#hint.classList.toggle('problem', Boolean(problem))
    this.#box.setAttribute('aria-invalid', String(isTooLong))
    // Not `disabled`: whoever presses it hears why nothing happens.
    this.#send.setAttribute('aria-disabled', String(Boolean(problem) || this.#box.value.trim() === ''))
  }

  #change(active: Conversation | undefined): void {
    if (this.#shown) this.#halfWritten.set(this.#shown, this.#box.value)
    this.#box.value = (active && this.#halfWritten.get(active)) ?? ''
    this.#shown = active
  }

  #onKey(event: KeyboardEvent): void {
    // While an input method composes a character, Enter belongs to it.
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
    event.preventDefault()
    this.#submit()
  }

  #submit(): void {
    const text = this.#box.value.trim()
    if (text === '' || this.#send.getAttribute('aria-disabled') === 'true') return this.#box.focus()
    this.#box.value = ''
    this.#chat.active?.outbox.send(text)
    this.#box.focus()
    this.draw()
  }
}

function number(value: number): string {
  return value.toLocaleString('en')
}
