// Shows the messages of the open conversation.
import type { Chat } from './chat.js'
import { type Conversation, conversationTitle } from './conversation.js'
import { setChildren, button, element, find, KeyedCache, setText } from './dom.js'
import { dayName, exactTime, timeOfDay } from './format.js'
import { formatIdentity } from './page-identity.js'
import type { Delivery, ChatMessage } from './message-log.js'
import { avatar } from './people-view.js'
import { displayNameOf } from './publication.js'
import { type TimelineRow, rowsOf } from './rows.js'

/** Within this distance of the end, the timeline scrolls to new messages. */
const endTolerancePx = 80

export class Timeline {
  readonly #chat: Chat
  readonly #scroller = find('timeline', HTMLElement)
  readonly #list = find('messages', HTMLOListElement)
  readonly #earlier = find('earlier', HTMLButtonElement)
  readonly #toNewest = find('to-newest', HTMLButtonElement)
  #rows = new KeyedCache<HTMLElement>()
  #current: Conversation | undefined
  #newestId = 0
  /** Whether the timeline is scrolled to its end, and stays there when messages arrive. */
  #isFollowing = true

  constructor(chat: Chat, signal: AbortSignal) {
    this.#chat = chat
    this.#earlier.addEventListener('click', () => chat.active?.loadEarlier(), { signal })
    this.#toNewest.addEventListener('click', () => this.#scrollToEnd(), { signal })
    this.#scroller.addEventListener('scroll', () => this.#onScroll(), { signal, passive: true })
    // When the keyboard of a phone or a growing message box makes the timeline smaller, it stays scrolled to
    // its end.
    const observer = new ResizeObserver(() => this.#isFollowing && this.#scrollToEnd())
    observer.observe(this.#scroller)
    signal.addEventListener('abort', () => observer.disconnect())
  }

  draw(): void {
    const conversation = this.#chat.active
    const isDifferent = conversation !== this.#current
    if (isDifferent) {
      this.#rows = new KeyedCache()
      this.#current = conversation
      this.#isFollowing = true
    }
    const heightBefore = this.#scroller.scrollHeight
    const oldestBefore = this.#list.firstElementChild
    const rows = conversation
      ? rowsOf(conversation.log.entries, { newFromId: conversation.unread.firstId })
      : []
    setChildren(
      this.#list,
      rows.map((row) => this.#row(row)),
    )
    this.#rows.sweep()
    this.#drawBeginning(conversation)

    const newest = conversation?.log.entries.at(-1)
    const newestId = newest?.id ?? 0
    // The timeline scrolls to a message that the user sends, also from above.
    if (newestId > this.#newestId && newest?.kind === 'message' && newest.author.isOwn)
      this.#isFollowing = true
    if (this.#isFollowing) this.#scrollToEnd()
    else if (oldestBefore !== this.#list.firstElementChild) {
      // Older messages were inserted above. The visible ones keep their place on the screen.
      this.#scroller.scrollTop += this.#scroller.scrollHeight - heightBefore
    } else if (newestId > this.#newestId) this.#toNewest.hidden = false
    this.#newestId = newestId
  }

  #drawBeginning(conversation: Conversation | undefined): void {
    const earlier = conversation?.earlier ?? 'none'
    this.#scroller.hidden = conversation?.membership.kind === 'refused'
    this.#earlier.hidden = earlier === 'none' || conversation?.log.entries.length === 0
    this.#earlier.disabled = earlier === 'loading'
    const opening = find('opening', HTMLElement)
    opening.hidden =
      conversation === undefined || conversation.membership.kind !== 'joined' || earlier !== 'none'
    setText(find('opening-title', HTMLElement), conversation ? conversationTitle(conversation) : '')
    setText(find('opening-text', HTMLElement), conversation?.description ?? '')
    this.#drawInvitation(conversation)
  }

  /** A user who is alone in a new room gets a link that signs in a second user in another tab. */
  #drawInvitation(conversation: Conversation | undefined): void {
    const isAlone = conversation?.members?.list.length === 1 && conversation.log.entries.length < 3
    find('opening-invitation', HTMLElement).hidden = !isAlone
    if (!isAlone) return
    const { identity } = this.#chat
    const user = identity.user === 'grace' ? 'ada' : 'grace'
    setText(find('second-user', HTMLElement), user)
    find('second-tab', HTMLAnchorElement).href = `?${formatIdentity({ ...identity, user })}`
  }

  #row(row: TimelineRow): HTMLElement {
    switch (row.kind) {
      case 'day':
        return this.#rows.get(row.key, dayName(row.timeMs, Date.now()), () =>
          divider('day', dayName(row.timeMs, Date.now())),
        )
      case 'new':
        return this.#rows.get(row.key, undefined, () => divider('new', 'New'))
      case 'gap':
        return this.#rows.get(row.key, row.gap, () => divider('gap', row.gap.text))
      case 'message':
        return this.#rows.get(row.key, row.message, () => this.#message(row.message, row.startsGroup))
    }
  }

  #message(message: ChatMessage, startsGroup: boolean): HTMLElement {
    const { author, text, delivery } = message
    const byline = element(
      'p',
      { class: startsGroup ? 'byline' : 'byline visually-hidden' },
      element('bdi', { class: 'author' }, author.name),
    )
    if (author.isOwn) byline.append(' ', element('span', { class: 'you' }, 'you'))
    const time = message.timeMs === undefined ? [] : [clock(message.timeMs)]
    if (startsGroup) byline.append(' ', ...time)
    const body = element('div', { class: 'body' }, byline, element('p', { class: 'text', dir: 'auto' }, text))
    if (delivery.kind !== 'delivered') body.append(this.#delivery(message.id, delivery))
    const classes = ['message', startsGroup && 'group-start', author.isOwn && 'own', delivery.kind]
      .filter(Boolean)
      .join(' ')
    const margin = startsGroup ? [avatar(author.name)] : time
    return element('li', { class: classes }, element('span', { class: 'margin' }, ...margin), body)
  }

  #delivery(id: number, delivery: Exclude<Delivery, { kind: 'delivered' }>): HTMLElement {
    const line = element('p', { class: 'delivery' }, deliveryText(delivery))
    const sender = this.#chat.active?.sender
    if (delivery.kind === 'sending' || !sender) return line
    if (delivery.kind !== 'waiting')
      line.append(' ', button('Send again', { class: 'link', onClick: () => sender.retry(id) }))
    line.append(' ', button('Discard', { class: 'link', onClick: () => sender.discard(id) }))
    return line
  }

  #onScroll(): void {
    const { scrollTop, clientHeight, scrollHeight } = this.#scroller
    this.#isFollowing = scrollHeight - scrollTop - clientHeight < endTolerancePx
    if (this.#isFollowing) this.#toNewest.hidden = true
  }

  #scrollToEnd(): void {
    this.#scroller.scrollTop = this.#scroller.scrollHeight
    this.#toNewest.hidden = true
  }
}

function deliveryText(delivery: Exclude<Delivery, { kind: 'delivered' }>): string {
  switch (delivery.kind) {
    case 'waiting':
      return 'Will be sent when the connection is back.'
    case 'sending':
      return 'Sending…'
    case 'unconfirmed':
      return 'Not confirmed: the connection was lost before the reply.'
    case 'refused':
      return `Not sent. ${delivery.reason}`
  }
}

function divider(kind: 'day' | 'new' | 'gap', text: string): HTMLElement {
  return element('li', { class: `divider ${kind}` }, element('span', {}, text))
}

function clock(timeMs: number): HTMLElement {
  const attributes = { datetime: new Date(timeMs).toISOString(), title: exactTime(timeMs) }
  return element('time', attributes, timeOfDay(timeMs))
}

/** Returns what a screen reader announces for a message that arrived. */
export function announcementOf(message: ChatMessage): string {
  return `${message.author.name || displayNameOf(message.author.user)}: ${message.text}`
}
