// Commands to the plain chat door over a connection that may go meanwhile: each is answered by its id, or lost with the connection.
import { WebSocket } from 'ws'

/** A refusal by its code. */
export class CodedError extends Error {
  readonly code: string

  constructor(code: string) {
    super(code)
    this.code = code
  }
}

export class ChatAsks<Event extends { readonly event: string; readonly code?: string }> {
  readonly #waiting = new Map<string, { resolve: (event: Event) => void; reject: (error: Error) => void }>()
  #asked = 0

  /** The ack, or what comes with its id before it. Rejects with CodedError when it is refused, and with CONNECTION_LOST when the connection goes. */
  ask(socket: WebSocket | undefined, command: object): Promise<Event> {
    if (socket?.readyState !== WebSocket.OPEN) return Promise.reject(new CodedError('CONNECTION_LOST'))
    this.#asked += 1
    const id = String(this.#asked)
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      socket.send(JSON.stringify({ ...command, id }))
    })
  }

  /** Came with that id; nothing where nobody waits for it. */
  answer(id: string, event: Event): void {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (event.event === 'error') waiting?.reject(new CodedError(event.code ?? ''))
    else waiting?.resolve(event)
  }

  /** The connection went. */
  lose(): void {
    for (const { reject } of this.#waiting.values()) reject(new CodedError('CONNECTION_LOST'))
    this.#waiting.clear()
  }
}
