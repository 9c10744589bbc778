// Draws a chat: after each change all of it, from what is true now. The views compare and touch what differs.
import { Chat } from './chat.js'
import { Composer } from './composer.js'
import { placeName } from './conversation.js'
import type { Tenant } from './dev-server.js'
import { find, setText } from './dom.js'
import type { Identity } from './identity.js'
import { NoticeView } from './notice.js'
import { Panels } from './panels.js'
import { avatar, PeopleView } from './people.js'
import { Sidebar } from './sidebar.js'
import { StatusView } from './status.js'
import { spoken, Timeline } from './timeline.js'

export class ChatView {
  readonly #chat: Chat
  readonly #tenant: Tenant
  readonly #ending = new AbortController()
  readonly #views: readonly { draw(): void }[]
  readonly #composer: Composer
  readonly #panels: Panels
  #isDrawingSoon = false

  /** Connects at once. `signOut` is called when its button is pressed. */
  constructor(identity: Identity, options: { tenant: Tenant; signOut: () => void }) {
    const { signal } = this.#ending
    const { tenant } = options
    this.#tenant = tenant
    this.#chat = new Chat(identity, tenant, {
      changed: () => this.#drawSoon(),
      heard: (conversation, message) => {
        if (conversation === this.#chat.active) setText(find('announcer', HTMLElement), spoken(message))
      },
    })
    const opened = () => this.#onOpened()
    this.#panels = new Panels(signal)
    this.#composer = new Composer(this.#chat, signal)
    this.#views = [
      new StatusView(this.#chat, signal),
      new Sidebar(this.#chat, { tenant, signal, opened }),
      new Timeline(this.#chat, signal),
      new NoticeView(this.#chat, signal),
      new PeopleView(this.#chat, { opened }),
      this.#composer,
    ]
    this.#listen(signal, options.signOut)
    this.#introduce(identity)
    find('chat', HTMLElement).hidden = false
    this.#chat.lookAt(!document.hidden)
    this.#composer.focus()
  }

  /** Nothing of it is left on the page. */
  end(): void {
    this.#chat.end()
    this.#ending.abort()
    find('chat', HTMLElement).hidden = true
    document.title = 'Parley'
  }

  #listen(signal: AbortSignal, signOut: () => void): void {
    find('sign-out', HTMLButtonElement).addEventListener('click', signOut, { signal })
    find('leave', HTMLButtonElement).addEventListener('click', () => this.#leave(), { signal })
    find('skip', HTMLAnchorElement).addEventListener(
      'click',
      (event) => {
        // Not by the address, which says who one is.
        event.preventDefault()
        this.#composer.focus()
      },
      { signal },
    )
    document.addEventListener('keydown', (event) => this.#onKey(event), { signal })
    document.addEventListener('visibilitychange', () => this.#chat.lookAt(!document.hidden), { signal })
    // The words for being offline depend on it.
    for (const event of ['online', 'offline']) addEventListener(event, () => this.#drawSoon(), { signal })
  }

  #introduce(identity: Identity): void {
    const name = identity.user ?? 'guest'
    setText(find('tenant', HTMLElement), this.#tenant.displayName)
    setText(find('account-name', HTMLElement), name)
    find('account-avatar', HTMLElement).replaceChildren(avatar(name))
  }

  #onOpened(): void {
    this.#panels.close()
    this.#drawSoon()
    // On a touch screen the keyboard would rise and hide what was just opened.
    if (!matchMedia('(pointer: coarse)').matches) this.#composer.focus()
  }

  #leave(): void {
    const { active } = this.#chat
    const room = this.#chat.rooms.find((one) => one === active)
    if (room) this.#chat.leave(room)
    this.#composer.focus()
  }

  #onKey(event: KeyboardEvent): void {
    if (event.key === 'Escape') {
      if (!this.#panels.close()) this.#composer.focus()
    } else if (event.altKey && (event.key === 'ArrowUp' || event.key === 'ArrowDown')) {
      event.preventDefault()
      this.#chat.walk(event.key === 'ArrowDown' ? 1 : -1)
      this.#panels.close()
    }
  }

  /** Many changes in one task, one drawing. */
  #drawSoon(): void {
    if (this.#isDrawingSoon) return
    this.#isDrawingSoon = true
    queueMicrotask(() => {
      this.#isDrawingSoon = false
      if (!this.#ending.signal.aborted) this.#draw()
    })
  }

  #draw(): void {
    for (const view of this.#views) view.draw()
    const { active, unread } = this.#chat
    const place = active ? placeName(active) : 'No room'
    setText(find('title', HTMLElement), place)
    setText(find('subtitle', HTMLElement), this.#subtitle())
    find('leave', HTMLButtonElement).hidden = active?.kind !== 'room'
    document.title = `${unread > 0 ? `(${unread}) ` : ''}${place} · Parley`
  }

  #subtitle(): string {
    const { active } = this.#chat
    if (!active) return 'Join a room by its name.'
    if (active.membership.kind !== 'joining' || this.#chat.connection.state.kind !== 'connected') return ''
    return active.membership.problem ? `${active.membership.problem} Trying again…` : 'Coming in…'
  }
}
