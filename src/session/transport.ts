// The seam to whatever carries a session's frames: a WebSocket in production, an array in tests.
import type { CloseCode } from '../protocol/codes.js'

/** One encoded unit, made once and shared by all sessions that get it. */
export interface Frame {
  /** What the client reads: one protocol object (or several), as its codec writes them. */
  readonly payload: Uint8Array
  /** With a native ping behind it, where the transport has one: clients answer that without their code knowing. Default: false. */
  readonly pings?: boolean
  /** The transport's cache: the payload with its header, as it goes over the wire. */
  wire?: Uint8Array
}

export interface Transport {
  /** Writes all frames at once, in order. False: the kernel did not take everything, and `onDrained` will follow when it has. */
  send(frames: readonly Frame[]): boolean
  /** Bytes handed over and not yet taken by the kernel. */
  readonly bufferedBytes: number
  /** Says goodbye with a code, and cuts the line when the other side does not answer in time. Later calls do nothing. */
  close(code: CloseCode): void
}

/** What a transport tells its session. `onDrained` follows each `send` that answered false. */
export interface TransportListener {
  /** A whole message; the UTF-8 of a text is already checked. */
  onMessage(payload: Buffer, binary: boolean): void
  /** Any sign of life that is no message: ping or pong of the transport's own. */
  onControl(): void
  onDrained(): void
  /** Once, and the last: the line is gone. */
  onClosed(code: number): void
}
