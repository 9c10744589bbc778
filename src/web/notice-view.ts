// Replaces the message box when the user cannot write: the room refused the user, or the connection ended.
import type { Chat } from './chat.js'
import { find, setText } from './dom.js'

interface Notice {
  readonly title: string
  readonly text: string
  readonly action: string
  readonly act: () => void
}

export class NoticeView {
  readonly #chat: Chat
  readonly #button = find('notice-action', HTMLButtonElement)

  constructor(chat: Chat, signal: AbortSignal) {
    this.#chat = chat
    this.#button.addEventListener('click', () => this.#notice?.act(), { signal })
  }

  draw(): void {
    const notice = this.#notice
    find('notice', HTMLElement).hidden = notice === undefined
    if (!notice) return
    setText(find('notice-title', HTMLElement), notice.title)
    setText(find('notice-text', HTMLElement), notice.text)
    setText(this.#button, notice.action)
  }

  get #notice(): Notice | undefined {
    const { active, connection } = this.#chat
    if (connection.state.kind === 'ended') {
      const act = () => connection.reconnectNow()
      return { title: 'You are not connected', text: connection.state.reason, action: 'Reconnect', act }
    }
    if (active?.membership.kind !== 'refused') return undefined
    const act = () => active.rejoin()
    return { title: 'You cannot join this room', text: active.membership.reason, action: 'Try again', act }
  }
}
