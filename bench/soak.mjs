export async function soak() {
  return [];
}
