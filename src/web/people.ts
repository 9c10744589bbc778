// Who is here: one line a user, and a click writes to them.
import type { Chat } from './chat.js'
import { arrange, button, element, find, Keyed, setText } from './dom.js'
import { initial, toneOf } from './format.js'
import type { Member } from './members.js'
import { displayNameOf } from './publication.js'

export class PeopleView {
  readonly #chat: Chat
  readonly #opened: () => void
  readonly #lines = new Keyed<HTMLElement>()

  /** `opened` is called when somebody chose a person to write to. */
  constructor(chat: Chat, options: { opened: () => void }) {
    this.#chat = chat
    this.#opened = options.opened
  }

  draw(): void {
    const members = this.#chat.active?.members
    const list = members?.list ?? []
    arrange(
      find('people-list', HTMLElement),
      list.map((member) => this.#line(member)),
    )
    this.#lines.sweep()
    setText(find('people-count', HTMLElement), list.length > 0 ? String(list.length) : '')
    setText(find('people-hint', HTMLElement), this.#hint(list.length))
  }

  #hint(people: number): string {
    const { active } = this.#chat
    if (active?.kind === 'direct') return `Only you and ${displayNameOf(active.name)} read this.`
    if (active?.membership.kind === 'refused') return 'You are not in this room.'
    return active?.members?.problem ?? (people === 1 ? 'Only you, so far.' : '')
  }

  #line(member: Member): HTMLElement {
    const { author, connections } = member
    return this.#lines.get(author.user, `${author.name} ${connections} ${author.own}`, () => {
      const name = element('bdi', { class: 'name' }, author.name)
      const parts = [avatar(author.name), name]
      if (author.own) parts.push(element('span', { class: 'you' }, 'you'))
      if (connections > 1) parts.push(connectionCount(connections))
      // Nobody writes to themselves, and a server has no inbox.
      if (author.own || author.user === '') return element('li', { class: 'person' }, ...parts)
      const write = button('', {
        class: 'item person',
        title: `Write to ${author.name}`,
        onClick: () => this.#open(author.user),
      })
      write.append(...parts)
      return element('li', {}, write)
    })
  }

  #open(user: string): void {
    this.#chat.openDirect(user)
    this.#opened()
  }
}

/** A letter on a colour: decoration, the name stands beside it. */
export function avatar(name: string): HTMLElement {
  return element('span', { class: `avatar ${toneOf(name)}`, 'aria-hidden': 'true' }, initial(name))
}

function connectionCount(connections: number): HTMLElement {
  const words = `${connections} connections`
  return element('span', { class: 'tag', title: words, 'aria-label': words, role: 'img' }, `×${connections}`)
}
