// Draws the chat of a signed-in user. Each change draws all views from the current state, and each view
// updates only the elements that differ.
import { Chat } from './chat.js'
import { Composer } from './composer.js'
import { conversationTitle } from './conversation.js'
import type { DevTenant } from './dev-server.js'
import { find, setText } from './dom.js'
import type { PageIdentity } from './page-identity.js'
import { NoticeView } from './notice-view.js'
import { Panels } from './panels.js'
import { avatar, PeopleView } from './people-view.js'
import { Sidebar } from './sidebar.js'
import { StatusView } from './status-view.js'
import { announcementOf, Timeline } from './timeline.js'

export class ChatView {
  readonly #chat: Chat
  readonly #tenant: DevTenant
  readonly #ending = new AbortController()
  readonly #views: readonly { draw(): void }[]
  readonly #composer: Composer
  readonly #panels: Panels
  #isDrawingSoon = false

  /** Connects immediately. `signOut` is called when the user presses "Sign out". */
  constructor(identity: PageIdentity, options: { tenant: DevTenant; signOut: () => void }) {
    const { signal } = this.#ending
    const { tenant } = options
    this.#tenant = tenant
    this.#chat = new Chat(identity, tenant, {
      changed: () => this.#drawSoon(),
      messageReceived: (conversation, message) => {
        if (conversation === this.#chat.active)
          setText(find('announcer', HTMLElement), announcementOf(message))
      },
    })
    const onOpened = () => this.#onOpened()
    this.#panels = new Panels(signal)
    this.#composer = new Composer(this.#chat, signal)
    this.#views = [
      new StatusView(this.#chat, signal),
      new Sidebar(this.#chat, { tenant, signal, onOpened }),
      new Timeline(this.#chat, signal),
      new NoticeView(this.#chat, signal),
      new PeopleView(this.#chat, { onOpened }),
      this.#composer,
    ]
    this.#listen(signal, options.signOut)
    this.#showAccount(identity)
    find('chat', HTMLElement).hidden = false
    this.#chat.setVisible(!document.hidden)
    this.#composer.focus()
  }

  /** Disconnects, removes all event listeners and hides the chat. */
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
        // Following the link would replace the fragment of the address, which can hold an identity.
        event.preventDefault()
        this.#composer.focus()
      },
      { signal },
    )
    document.addEventListener('keydown', (event) => this.#onKey(event), { signal })
    document.addEventListener('visibilitychange', () => this.#chat.setVisible(!document.hidden), { signal })
    // The status text depends on `navigator.onLine`.
    for (const event of ['online', 'offline']) addEventListener(event, () => this.#drawSoon(), { signal })
  }

  #showAccount(identity: PageIdentity): void {
    const name = identity.user ?? 'guest'
    setText(find('tenant', HTMLElement), this.#tenant.displayName)
    setText(find('account-name', HTMLElement), name)
    find('account-avatar', HTMLElement).replaceChildren(avatar(name))
  }

  #onOpened(): void {
    this.#panels.close()
    this.#drawSoon()
    // On a touch screen, focus would open the keyboard, which hides the conversation.
    if (!matchMedia('(pointer: coarse)').matches) this.#composer.focus()
  }

  #leave(): void {
    const { active } = this.#chat
    const room = this.#chat.rooms.find((item) => item === active)
    if (room) this.#chat.leave(room)
    this.#composer.focus()
  }

  #onKey(event: KeyboardEvent): void {
    if (event.key === 'Escape') {
      if (!this.#panels.close()) this.#composer.focus()
    } else if (event.altKey && (event.key === 'ArrowUp' || event.key === 'ArrowDown')) {
      event.preventDefault()
      this.#chat.openAdjacent(event.key === 'ArrowDown' ? 1 : -1)
      this.#panels.close()
    }
  }

  /** Draws once for all changes of one task. */
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
    const title = active ? conversationTitle(active) : 'No room'
    setText(find('title', HTMLElement), title)
    setText(find('subtitle', HTMLElement), this.#subtitle())
    find('leave', HTMLButtonElement).hidden = active?.kind !== 'room'
    document.title = `${unread > 0 ? `(${unread}) ` : ''}${title} · Parley`
  }

  #subtitle(): string {
    const { active } = this.#chat
    if (!active) return 'Join a room by its name.'
    if (active.membership.kind !== 'joining' || this.#chat.connection.state.kind !== 'connected') return ''
    return active.membership.problem ? `${active.membership.problem} Trying again…` : 'Joining…'
  }
}
