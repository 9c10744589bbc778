// Types for the package cluster-key-slot, which contains no types.
declare module 'cluster-key-slot' {
  /**
   * Returns the slot of a key. When the key has braces with text between them, this is the slot of the text
   * in the first braces.
   */
  export default function slotOf(key: string | Uint8Array): number
}
