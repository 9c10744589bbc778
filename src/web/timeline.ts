// The messages of the conversation that is open.
import type { Chat } from './chat.js'
import { type Conversation, placeName } from './conversation.js'
import { arrange, button, element, find, Keyed, setText } from './dom.js'
import { dayName, exactTime, timeOfDay } from './format.js'
import { formatIdentity } from './identity.js'
import type { Delivery, Message } from './message-log.js'
import { avatar } from './people.js'
import { displayNameOf } from './publication.js'
import { type Row, rowsOf } from './rows.js'

/** Nearer to the end than this, the reader follows what comes. */
const nearPx = 80

export class Timeline {
  readonly #chat: Chat
  readonly #scroller = find('timeline', HTMLElement)
  readonly #list = find('messages', HTMLOListElement)
  readonly #earlier = find('earlier', HTMLButtonElement)
  readonly #toNewest = find('to-newest', HTMLButtonElement)
  #rows = new Keyed<HTMLElement>()
  #shown: Conversation | undefined
  #newestId = 0
  /** Is the reader at the end, and wants to stay there? */
  #follows = true

  constructor(chat: Chat, signal: AbortSignal) {
    this.#chat = chat
    this.#earlier.addEventListener('click', () => chat.active?.loadEarlier(), { signal })
    this.#toNewest.addEventListener('click', () => this.#scrollToEnd(), { signal })
    this.#scroller.addEventListener('scroll', () => this.#onScroll(), { signal, passive: true })
    // A keyboard on a phone, a growing message box: who was at the end stays there.
    const observer = new ResizeObserver(() => this.#follows && this.#scrollToEnd())
    observer.observe(this.#scroller)
    signal.addEventListener('abort', () => observer.disconnect())
  }

  draw(): void {
    const conversation = this.#chat.active
    const isOther = conversation !== this.#shown
    if (isOther) {
      this.#rows = new Keyed()
      this.#shown = conversation
      this.#follows = true
    }
    const heightBefore = this.#scroller.scrollHeight
    const oldestBefore = this.#list.firstElementChild
    const rows = conversation
      ? rowsOf(conversation.log.entries, { newFromId: conversation.unread.firstId })
      : []
    arrange(
      this.#list,
      rows.map((row) => this.#row(row)),
    )
    this.#rows.sweep()
    this.#drawBeginning(conversation)

    const newest = conversation?.log.entries.at(-1)
    const newestId = newest?.id ?? 0
    // Who writes wants to see it, wherever they were reading.
    if (newestId > this.#newestId && newest?.kind === 'message' && newest.author.own) this.#follows = true
    if (this.#follows) this.#scrollToEnd()
    else if (oldestBefore !== this.#list.firstElementChild) {
      // Earlier messages came in above: what is being read stays where it is.
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
    setText(find('opening-title', HTMLElement), conversation ? placeName(conversation) : '')
    setText(find('opening-text', HTMLElement), conversation?.about ?? '')
    this.#drawInvitation(conversation)
  }

  /** A newcomer alone in a room needs somebody to talk to: themselves, in another tab. */
  #drawInvitation(conversation: Conversation | undefined): void {
    const isAlone = conversation?.members?.list.length === 1 && conversation.log.entries.length < 3
    find('opening-invitation', HTMLElement).hidden = !isAlone
    if (!isAlone) return
    const { identity } = this.#chat
    const user = identity.user === 'grace' ? 'ada' : 'grace'
    setText(find('second-user', HTMLElement), user)
    find('second-tab', HTMLAnchorElement).href = `?${formatIdentity({ ...identity, user })}`
  }

  #row(row: Row): HTMLElement {
    switch (row.kind) {
      case 'day':
        return this.#rows.get(row.key, dayName(row.timeMs, Date.now()), () =>
          divider('day', dayName(row.timeMs, Date.now())),
        )
      case 'new':
        return this.#rows.get(row.key, undefined, () => divider('new', 'New'))
      case 'gap':
        return this.#rows.get(row.key, row.gap, () => divider('gap', row.gap.words))
      case 'message':
        return this.#rows.get(row.key, row.message, () => this.#message(row.message, row.leads))
    }
  }

  #message(message: Message, leads: boolean): HTMLElement {
    const { author, text, delivery } = message
    const byline = element(
      'p',
      { class: leads ? 'byline' : 'byline visually-hidden' },
      element('bdi', { class: 'author' }, author.name),
    )
    if (author.own) byline.append(' ', element('span', { class: 'you' }, 'you'))
    const time = message.timeMs === undefined ? [] : [clock(message.timeMs)]
    if (leads) byline.append(' ', ...time)
    const body = element('div', { class: 'body' }, byline, element('p', { class: 'text', dir: 'auto' }, text))
    if (delivery.kind !== 'delivered') body.append(this.#delivery(message.id, delivery))
    const classes = ['message', leads && 'leads', author.own && 'own', delivery.kind]
      .filter(Boolean)
      .join(' ')
    const margin = leads ? [avatar(author.name)] : time
    return element('li', { class: classes }, element('span', { class: 'margin' }, ...margin), body)
  }

  #delivery(id: number, delivery: Exclude<Delivery, { kind: 'delivered' }>): HTMLElement {
    const line = element('p', { class: 'delivery' }, deliveryWords(delivery))
    const outbox = this.#chat.active?.outbox
    if (delivery.kind === 'sending' || !outbox) return line
    if (delivery.kind !== 'waiting')
      line.append(' ', button('Send again', { class: 'link', onClick: () => outbox.retry(id) }))
    line.append(' ', button('Discard', { class: 'link', onClick: () => outbox.discard(id) }))
    return line
  }

  #onScroll(): void {
    const { scrollTop, clientHeight, scrollHeight } = this.#scroller
    this.#follows = scrollHeight - scrollTop - clientHeight < nearPx
    if (this.#follows) this.#toNewest.hidden = true
  }

  #scrollToEnd(): void {
    this.#scroller.scrollTop = this.#scroller.scrollHeight
    this.#toNewest.hidden = true
  }
}

function deliveryWords(delivery: Exclude<Delivery, { kind: 'delivered' }>): string {
  switch (delivery.kind) {
    case 'waiting':
      return 'Goes out when the connection is back.'
    case 'sending':
      return 'Sending…'
    case 'unsure':
      return 'Not confirmed: the connection broke before the answer.'
    case 'refused':
      return `Not sent. ${delivery.why}`
  }
}

function divider(kind: 'day' | 'new' | 'gap', words: string): HTMLElement {
  return element('li', { class: `divider ${kind}` }, element('span', {}, words))
}

function clock(timeMs: number): HTMLElement {
  const attributes = { datetime: new Date(timeMs).toISOString(), title: exactTime(timeMs) }
  return element('time', attributes, timeOfDay(timeMs))
}

/** What is read aloud for a message that just came. */
export function spoken(message: Message): string {
  return `${message.author.name || displayNameOf(message.author.user)}: ${message.text}`
}
