// Types for the package cluster-key-slot, which has none.
declare module 'cluster-key-slot' {
  /**
   * Returns the slot of a key: the slot of the text between its first braces, if it has braces and the text
   * is not empty.
   */
  export default function slotOf(key: string | Uint8Array): number
}
