// The seam between the load generator and a server: what a client sends to it, and how its frames are read.
// No implementation here.

/** One client of the load generator. Publishers have no channels. */
export interface LoadClient {
  readonly index: number
  readonly channels: readonly string[]
}

/** The kind of a frame. A `push` can be a publication; `error` is a reply with an error. */
export type FrameKind = 'push' | 'reply' | 'error' | 'ping'

/** How the load generator talks to one kind of server. */
export interface ClientProtocol {
  /** Returns the path and query of the upgrade request. */
  requestTarget(client: LoadClient): string
  /**
   * Returns what a client sends after the upgrade, and after how many replies it is ready. Undefined when it
   * is ready immediately.
   */
  opening(client: LoadClient): { readonly text: string; readonly replies: number } | undefined
  /**
   * Returns the command that publishes `data`. `data` needs no escaping in JSON and must reach the
   * subscribers unchanged.
   */
  publish(id: number, channel: string, data: string): string
  /** Whether the server replies to each publish, in order. */
  readonly acknowledgesPublishes: boolean
  /** Returns the kind of the frame in bytes[from, to). */
  frameKind(bytes: Buffer, from: number, to: number): FrameKind
  /** Called with each reply to the opening commands. */
  onOpeningReply(client: LoadClient, text: string): void
  /** Returns the code of an error reply, under which it is counted. */
  errorCode(text: string): string
  /** What a client sends as the reply to a ping. */
  readonly pong: string
}
