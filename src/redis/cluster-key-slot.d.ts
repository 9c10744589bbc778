// The package brings no types.
declare module 'cluster-key-slot' {
  /** The slot of a key: of what is between its first braces, if there are any with something in them. */
  export default function slotOf(key: string | Uint8Array): number
}
