// Said in place of the message box when nothing can be written: the room is closed to us, or the connection has ended.
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
    if (connection.state.kind === 'over') {
      const act = () => connection.tryNow()
      return { title: 'You are not connected', text: connection.state.why, action: 'Connect again', act }
    }
    if (active?.membership.kind !== 'refused') return undefined
    const act = () => active.rejoin()
    return { title: 'This room is closed to you', text: active.membership.why, action: 'Try again', act }
  }
}
