// The heights of a long list, measured where they were seen and estimated elsewhere: sums in O(log n).

export class Heights {
  constructor(count, estimate) {
    this.estimate = estimate;
    this.measured = new Map();
    this.resize(count);
  }

  /** The list has another length; what was measured stays. */
  resize(count) {
    this.count = count;
    this.tree = new Float64Array(count + 1);
    for (const index of [...this.measured.keys()]) if (index >= count) this.measured.delete(index);
    for (let index = 0; index < count; index += 1) this.tree[index + 1] = this.of(index);
    for (let node = 1; node <= count; node += 1) {
      const parent = node + (node & -node);
      if (parent <= count) this.tree[parent] += this.tree[node];
    }
  }

  /** The height of one item. */
  of(index) {
    return this.measured.get(index) ?? this.estimate;
  }

  /** Note what an item measures; gives by how much it grew. */
  set(index, height) {
    if (index >= this.count) return 0;
    const grown = height - this.of(index);
    this.measured.set(index, height);
    if (grown !== 0) {
      for (let node = index + 1; node <= this.count; node += node & -node) this.tree[node] += grown;
    }
    return grown;
  }

  /** Items from here on hold something else now: what was measured of them says nothing. */
  forgetFrom(index) {
    for (const known of [...this.measured.keys()]) if (known >= index) this.measured.delete(known);
    this.resize(this.count);
  }

  /** Where an item begins: the sum of all heights before it. */
  offset(index) {
    let sum = 0;
    for (let node = Math.min(index, this.count); node > 0; node -= node & -node) sum += this.tree[node];
    return sum;
  }

  /** The whole height. */
  get total() {
    return this.offset(this.count);
  }

  /** The item at a distance from the top. */
  find(y) {
    let index = 0;
    let rest = y;
    for (let step = 2 ** Math.floor(Math.log2(Math.max(1, this.count))); step >= 1; step /= 2) {
      if (index + step <= this.count && this.tree[index + step] <= rest) {
        index += step;
        rest -= this.tree[index];
      }
    }
    return Math.max(0, Math.min(index, this.count - 1));
  }
}
