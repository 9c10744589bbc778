// The list of members. Each user has one entry; a click opens the direct conversation with that user.
import type { Chat } from './chat.js'
import { setChildren, button, element, find, KeyedCache, setText } from './dom.js'
import { initial, toneOf } from './format.js'
import type { RoomMember } from './room-members.js'
import { displayNameOf } from './publication.js'

export class PeopleView {
  readonly #chat: Chat
  readonly #onOpened: () => void
  readonly #items = new KeyedCache<HTMLElement>()

  /** `onOpened` is called after the user opened a direct conversation. */
  constructor(chat: Chat, options: { onOpened: () => void }) {
    this.#chat = chat
    this.#onOpened = options.onOpened
  }

  draw(): void {
    const members = this.#chat.active?.members
    const list = members?.list ?? []
    setChildren(
      find('people-list', HTMLElement),
      list.map((member) => this.#item(member)),
    )
    this.#items.sweep()
    setText(find('people-count', HTMLElement), list.length > 0 ? String(list.length) : '')
    setText(find('people-hint', HTMLElement), this.#hint(list.length))
  }

  #hint(people: number): string {
    const { active } = this.#chat
    if (active?.kind === 'direct') return `Only you and ${displayNameOf(active.name)} can read this.`
    if (active?.membership.kind === 'refused') return 'You are not in this room.'
    return active?.members?.problem ?? (people === 1 ? 'Only you are here so far.' : '')
  }

  #item(member: RoomMember): HTMLElement {
    const { author, connections } = member
    return this.#items.get(author.user, `${author.name} ${connections} ${author.isOwn}`, () => {
      const name = element('bdi', { class: 'name' }, author.name)
      const parts = [avatar(author.name), name]
      if (author.isOwn) parts.push(element('span', { class: 'you' }, 'you'))
      if (connections > 1) parts.push(connectionCount(connections))
      // Users cannot write to themselves, and a server receives no direct messages.
      if (author.isOwn || author.user === '') return element('li', { class: 'person' }, ...parts)
      const write = button('', {
        class: 'item person',
        title: `Message ${author.name}`,
        onClick: () => this.#open(author.user),
      })
      write.append(...parts)
      return element('li', {}, write)
    })
  }

  #open(user: string): void {
    this.#chat.openDirect(user)
    this.#onOpened()
  }
}

/**
 * Creates an avatar: the initial of the name on a colour. It is hidden from screen readers, since the name is
 * beside it.
 */
export function avatar(name: string): HTMLElement {
  return element('span', { class: `avatar ${toneOf(name)}`, 'aria-hidden': 'true' }, initial(name))
}

function connectionCount(connections: number): HTMLElement {
  const label = `${connections} connections`
  return element('span', { class: 'tag', title: label, 'aria-label': label, role: 'img' }, `×${connections}`)
}
