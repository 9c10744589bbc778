// Commands to the chat endpoint over a connection that may break: each settles with the reply to its id, or
// rejects when the connection breaks.
import { WebSocket } from 'ws'

/** The error code of a refused command. */
export class CodedError extends Error {
  readonly code: string

  constructor(code: string) {
    super(code)
    this.code = code
  }
}

export class ChatRequests<Event extends { readonly event: string; readonly code?: string }> {
  readonly #waiting = new Map<string, { resolve: (event: Event) => void; reject: (error: Error) => void }>()
  #requests = 0

  /**
   * Sends a command, and resolves with the first event of its id. Rejects with CodedError: the code of the
   * refusal, or CONNECTION_LOST when the connection breaks.
   */
  ask(socket: WebSocket | undefined, command: object): Promise<Event> {
    if (socket?.readyState !== WebSocket.OPEN) return Promise.reject(new CodedError('CONNECTION_LOST'))
    this.#requests += 1
    const id = String(this.#requests)
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      socket.send(JSON.stringify({ ...command, id }))
    })
  }

  /** Settles the command with that id. Does nothing when no command waits for it. */
  answer(id: string, event: Event): void {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (event.event === 'error') waiting?.reject(new CodedError(event.code ?? ''))
    else waiting?.resolve(event)
  }

  /** Rejects all waiting commands, since the connection broke. */
  rejectAll(): void {
    for (const { reject } of this.#waiting.values()) reject(new CodedError('CONNECTION_LOST'))
    this.#waiting.clear()
  }
}
