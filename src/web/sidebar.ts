// The list of conversations: rooms and direct messages, what is unread in them, and the way into others.
import type { Chat } from './chat.js'
import type { Conversation } from './conversation.js'
import type { Tenant } from './dev-server.js'
import { arrange, button, element, find, Keyed, setText } from './dom.js'
import { displayNameOf } from './publication.js'
import { count } from './error-text.js'

export class Sidebar {
  readonly #chat: Chat
  readonly #tenant: Tenant
  readonly #opened: () => void
  readonly #items = new Keyed<Item>()
  readonly #name = find('join-name', HTMLInputElement)

  /** `opened` is called when somebody chose a conversation here. */
  constructor(chat: Chat, options: { tenant: Tenant; signal: AbortSignal; opened: () => void }) {
    this.#chat = chat
    this.#tenant = options.tenant
    this.#opened = options.opened
    const form = find('join-form', HTMLFormElement)
    form.addEventListener('submit', (event) => this.#onJoin(event), { signal: options.signal })
    this.#name.addEventListener('input', () => this.#name.setCustomValidity(''), { signal: options.signal })
  }

  draw(): void {
    const { rooms, directs, unread } = this.#chat
    arrange(
      find('room-list', HTMLElement),
      rooms.map((room) => this.#drawItem(room)),
    )
    arrange(
      find('direct-list', HTMLElement),
      directs.conversations.map((direct) => this.#drawItem(direct)),
    )
    this.#items.sweep()
    this.#drawSuggestions()

    const invitation = directs.conversations.length === 0 ? 'Choose a person to write to.' : ''
    setText(
      find('directs-hint', HTMLElement),
      directs.problem ? `Nobody can write to you: ${directs.problem}` : invitation,
    )
    const elsewhere = find('unread-elsewhere', HTMLElement)
    elsewhere.hidden = unread === 0
    setText(elsewhere, badgeText(unread))
  }

  #onJoin(event: SubmitEvent): void {
    event.preventDefault()
    if (this.#name.value.trim() === '') return this.#name.focus()
    // Said by the browser at the field, until it is changed.
    this.#name.setCustomValidity(
      this.#chat.isFull ? 'These are as many rooms as this page takes: leave one first.' : '',
    )
    if (!this.#name.reportValidity()) return
    this.#chat.join(this.#name.value)
    this.#name.value = ''
    this.#opened()
  }

  #drawItem(conversation: Conversation): HTMLElement {
    const open = () => {
      this.#chat.open(conversation)
      this.#opened()
    }
    const item = this.#items.get(
      `${conversation.kind} ${conversation.name}`,
      conversation,
      () => new Item(conversation, open),
    )
    item.draw({ isActive: conversation === this.#chat.active })
    return item.node
  }

  /** The tenant's rooms that are not in the list. */
  #drawSuggestions(): void {
    const here = new Set(this.#chat.rooms.map((room) => room.name))
    const names = this.#tenant.rooms.filter((name) => !here.has(name))
    const list = find('room-names', HTMLDataListElement)
    if (list.dataset['names'] === names.join(' ')) return
    list.dataset['names'] = names.join(' ')
    list.replaceChildren(...names.map((value) => element('option', { value })))
  }
}

/** One line of the list. Changed in place, so that it keeps the focus. */
class Item {
  readonly node: HTMLElement
  readonly #conversation: Conversation
  readonly #button: HTMLButtonElement
  readonly #badge = element('span', { class: 'badge', 'aria-hidden': 'true' })
  readonly #spoken = element('span', { class: 'visually-hidden' })
  readonly #closed = element('span', { class: 'tag' }, 'closed')

  constructor(conversation: Conversation, onClick: () => void) {
    const name = conversation.kind === 'room' ? conversation.name : displayNameOf(conversation.name)
    this.#conversation = conversation
    this.#button = button(element('bdi', { class: 'name' }, name), {
      class: `item ${conversation.kind}`,
      onClick,
    })
    this.#button.append(this.#spoken, this.#badge, this.#closed)
    this.node = element('li', {}, this.#button)
  }

  draw(options: { isActive: boolean }): void {
    const { unread, membership } = this.#conversation
    const isRefused = membership.kind === 'refused'
    if (options.isActive) this.#button.setAttribute('aria-current', 'true')
    else this.#button.removeAttribute('aria-current')
    this.#button.classList.toggle('refused', isRefused)
    this.#button.classList.toggle('unread', unread.count > 0)
    this.#closed.hidden = !isRefused
    this.#badge.hidden = unread.count === 0
    setText(this.#badge, badgeText(unread.count))
    setText(this.#spoken, unread.count === 0 ? '' : `, ${count(unread.count, 'unread message')}`)
  }
}

function badgeText(unread: number): string {
  return unread > 99 ? '99+' : String(unread)
}
