// The seam between a crowd and the server it visits: what a client says there, and what the answers mean. No implementation here.

/** One connection of the crowd. Publishers have no channels. */
export interface Visitor {
  readonly index: number
  readonly channels: readonly string[]
}

/** `push`: something unasked, perhaps a delivery. */
export type Heard = 'push' | 'answer' | 'refusal' | 'ping'

export interface Language {
  /** Path and query of the upgrade request. */
  target(visitor: Visitor): string
  /** Said once the line is open, and how many answers make the visitor ready. Undefined: it is ready at once. */
  hello(visitor: Visitor): { readonly text: string; readonly answers: number } | undefined
  /** `data` needs no escapes in JSON, and is to reach the channel's subscribers as it is. */
  publish(id: number, channel: string, data: string): string
  /** Each publish is answered, in order. */
  readonly acknowledges: boolean
  /** The frame lies in bytes[from, to). */
  hear(bytes: Buffer, from: number, to: number): Heard
  /** An answer to `hello`. */
  welcome(visitor: Visitor, text: string): void
  /** In a word: what is counted. */
  refusal(text: string): string
  readonly pong: string
}
