// The list of rooms and direct messages with their unread counts, and the form that joins a room.
import type { Chat } from './chat.js'
import type { Conversation } from './conversation.js'
import type { DevTenant } from './dev-server.js'
import { setChildren, button, element, find, KeyedCache, setText } from './dom.js'
import { displayNameOf } from './publication.js'
import { countText } from './error-text.js'

export class Sidebar {
  readonly #chat: Chat
  readonly #tenant: DevTenant
  readonly #onOpened: () => void
  readonly #items = new KeyedCache<SidebarItem>()
  readonly #name = find('join-name', HTMLInputElement)

  /** `onOpened` is called after the user opened a conversation. */
  constructor(chat: Chat, options: { tenant: DevTenant; signal: AbortSignal; onOpened: () => void }) {
    this.#chat = chat
    this.#tenant = options.tenant
    this.#onOpened = options.onOpened
    const form = find('join-form', HTMLFormElement)
    form.addEventListener('submit', (event) => this.#onJoin(event), { signal: options.signal })
    this.#name.addEventListener('input', () => this.#name.setCustomValidity(''), { signal: options.signal })
  }

  draw(): void {
    const { rooms, directMessages, unread } = this.#chat
    setChildren(
      find('room-list', HTMLElement),
      rooms.map((room) => this.#drawItem(room)),
    )
    setChildren(
      find('direct-list', HTMLElement),
      directMessages.conversations.map((direct) => this.#drawItem(direct)),
    )
    this.#items.sweep()
    this.#drawSuggestions()

    const invitation =
      directMessages.conversations.length === 0 ? 'Select a person to send a direct message.' : ''
    setText(
      find('directs-hint', HTMLElement),
      directMessages.problem ? `You cannot receive direct messages: ${directMessages.problem}` : invitation,
    )
    const total = find('unread-total', HTMLElement)
    total.hidden = unread === 0
    setText(total, badgeText(unread))
  }

  #onJoin(event: SubmitEvent): void {
    event.preventDefault()
    if (this.#name.value.trim() === '') return this.#name.focus()
    // The browser shows this message at the field until the field changes.
    this.#name.setCustomValidity(
      this.#chat.isFull ? 'You have joined the maximum number of rooms. Leave one first.' : '',
    )
    if (!this.#name.reportValidity()) return
    this.#chat.join(this.#name.value)
    this.#name.value = ''
    this.#onOpened()
  }

  #drawItem(conversation: Conversation): HTMLElement {
    const open = () => {
      this.#chat.open(conversation)
      this.#onOpened()
    }
    const item = this.#items.get(
      `${conversation.kind} ${conversation.name}`,
      conversation,
      () => new SidebarItem(conversation, open),
    )
    item.draw({ isActive: conversation === this.#chat.active })
    return item.node
  }

  /** Suggests the rooms of the tenant that the user has not joined. */
  #drawSuggestions(): void {
    const joined = new Set(this.#chat.rooms.map((room) => room.name))
    const names = this.#tenant.rooms.filter((name) => !joined.has(name))
    const list = find('room-names', HTMLDataListElement)
    if (list.dataset['names'] === names.join(' ')) return
    list.dataset['names'] = names.join(' ')
    list.replaceChildren(...names.map((value) => element('option', { value })))
  }
}

/** An entry of the list. It is updated in place, so that it keeps the focus. */
class SidebarItem {
  readonly node: HTMLElement
  readonly #conversation: Conversation
  readonly #button: HTMLButtonElement
  readonly #badge = element('span', { class: 'badge', 'aria-hidden': 'true' })
  readonly #unreadText = element('span', { class: 'visually-hidden' })
  readonly #refusedTag = element('span', { class: 'tag' }, 'no access')

  constructor(conversation: Conversation, onClick: () => void) {
    const name = conversation.kind === 'room' ? conversation.name : displayNameOf(conversation.name)
    this.#conversation = conversation
    this.#button = button(element('bdi', { class: 'name' }, name), {
      class: `item ${conversation.kind}`,
      onClick,
    })
    this.#button.append(this.#unreadText, this.#badge, this.#refusedTag)
    this.node = element('li', {}, this.#button)
  }

  draw(options: { isActive: boolean }): void {
    const { unread, membership } = this.#conversation
    const isRefused = membership.kind === 'refused'
    if (options.isActive) this.#button.setAttribute('aria-current', 'true')
    else this.#button.removeAttribute('aria-current')
    this.#button.classList.toggle('refused', isRefused)
    this.#button.classList.toggle('unread', unread.count > 0)
    this.#refusedTag.hidden = !isRefused
    this.#badge.hidden = unread.count === 0
    setText(this.#badge, badgeText(unread.count))
    setText(this.#unreadText, unread.count === 0 ? '' : `, ${countText(unread.count, 'unread message')}`)
  }
}

function badgeText(unread: number): string {
  return unread > 99 ? '99+' : String(unread)
}
