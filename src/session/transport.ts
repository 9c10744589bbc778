// The seam to the connection that carries a session's frames: a WebSocket in production, an array in tests.
import type { CloseCode } from '../protocol/codes.js'

/** One encoded unit, made once and shared by all sessions that receive it. */
export interface Frame {
  /** One protocol object, or several, as the codec writes them. */
  readonly payload: Uint8Array
  /**
   * Sends the transport's own ping after the payload, where the transport has one: client libraries answer it
   * without help from application code. Default: false.
   */
  readonly pings?: boolean
  /** The transport's cache: the payload with its header, as it is sent. */
  wire?: Uint8Array
  /** The number of outboxes in which the frame is counted as held. Only outboxes write it. */
  heldBy?: number
}

/** The connection of one session. Only the session writes to it. */
export interface Transport {
  /**
   * Writes all frames together, in order. Returns false when the kernel did not take everything; `onDrained`
   * follows when the kernel has taken everything.
   */
  send(frames: readonly Frame[]): boolean
  /** Bytes that were sent and that the kernel has not taken yet. */
  readonly bufferedBytes: number
  /**
   * Closes with a code, and cuts the connection when the client does not answer in time. Later calls do
   * nothing.
   */
  close(code: CloseCode): void
  /** Closes with a code, and cuts the connection after `afterMs` milliseconds even if bytes were not sent. */
  cut(code: CloseCode, afterMs: number): void
  /** Stops or resumes reading from the connection. */
  read(isReading: boolean): void
}

/**
 * The events that a transport reports to its session. `onDrained` follows each `send` that returned false.
 */
export interface TransportListener {
  /** A whole message. The UTF-8 of a text message has been validated. */
  onMessage(payload: Buffer, binary: boolean): void
  /** Called with the change of the bytes of messages that have arrived in part. */
  onPartialInput(bytes: number): void
  /** A ping or pong of the transport's own protocol. */
  onControl(): void
  /** The kernel has taken all bytes that were sent. */
  onDrained(): void
  /**
   * The connection is closed, with this WebSocket close code (1006: without a close frame). Called once, as
   * the last event.
   */
  onClosed(code: number): void
}
