// ECP5 block RAM (EBR): what one holds and how its two ports behave. The cells DP16KD and PDPW16KD
// (ecp5_block_ram_cells.v) are views of it. Written after Lattice FPGA-TN-02204 (ECP5 memory usage
// guide); where the guide leaves a question open, the vendor's simulation library decided, and for
// INITVAL also what nextpnr writes into the bitstream.
//
// Contents: 512 words of 36 bits, four 9-bit bytes. A port of width 9, 18 or 36 sees all bits, one
// of width 1, 2 or 4 the low eight of each byte. Address pins count bits: width 36 begins at AD5,
// 18 at AD4, 9 at AD3, 4 at AD2, 2 at AD1, 1 at AD0. At 18 AD0, AD1 and at 36 AD0..AD3 enable bytes
// of a write. INIT: 1024 times 18 bits and two of padding, as the INITVALs hold them.
//
// Width 36 (pseudo dual port): port A writes only, port B reads only, with any width.
//
// Read: the word reaches the port's latch at the clock edge, and with REGMODE OUTREG the output
// register at the next edge with OCE. Write modes, for the writing port's own latch: NORMAL holds,
// WRITETHROUGH takes the enabled bytes, READBEFOREWRITE takes the old word.
//
// Reset SYNC: at an edge with RST the access is dropped (no write either) and the latch cleared,
// whatever CE; the output register is cleared too where OCE is set. RST that rises while the clock
// is high clears the latch at once. Reset ASYNC: clears latch and register at any time, accesses
// go on. ASYNC_RESET_RELEASE SYNC: the register stays cleared at the first edge after.
//
// Collisions (both clocks at one instant, the same bits): bits that both ports write, or one port
// reads and the other writes, are not defined; here they are noise. Global reset (GSR) is not
// modelled.

module spikelet_ecp5_block_ram (
  input clk_a, ce_a, oce_a, we_a, rst_a, input [2:0] cs_a, input [13:0] ad_a, input [17:0] di_a,
  input clk_b, ce_b, oce_b, we_b, rst_b, input [2:0] cs_b, input [13:0] ad_b, input [17:0] di_b,
  output [17:0] do_a, do_b
);
  parameter integer WIDTH_A = 18;
  parameter integer WIDTH_B = 18;
  parameter REGMODE_A = "NOREG";
  parameter REGMODE_B = "NOREG";
  parameter RESETMODE = "SYNC";
  parameter ASYNC_RESET_RELEASE = "SYNC";
  parameter CSDECODE_A = "0b000";
  parameter CSDECODE_B = "0b000";
  parameter WRITEMODE_A = "NORMAL";
  parameter WRITEMODE_B = "NORMAL";
  parameter [20479:0] INIT = 20480'b0;

  localparam PSEUDO = WIDTH_A == 36;
  localparam SYNC = RESETMODE == "SYNC";
  localparam LATE = !SYNC && ASYNC_RESET_RELEASE == "SYNC";

  function integer chips(input [39:0] text);  // "0b101" is 5
    chips = {text[16], text[8], text[0]};
  endfunction
  function integer known(input integer width);
    known = width == 1 || width == 2 || width == 4 || width == 9 || width == 18;
  endfunction
  function integer write_mode(input [15*8-1:0] text);
    write_mode = text == "NORMAL" || text == "WRITETHROUGH" || text == "READBEFOREWRITE";
  endfunction
  function integer register_mode(input [6*8-1:0] text);
    register_mode = text == "NOREG" || text == "OUTREG";
  endfunction

  initial begin
    if (!(known(WIDTH_A) || PSEUDO) || !(known(WIDTH_B) || (PSEUDO && WIDTH_B == 36)))
      $fatal(1, "%m: data widths %0d and %0d", WIDTH_A, WIDTH_B);
    if (!register_mode(REGMODE_A) || !register_mode(REGMODE_B))
      $fatal(1, "%m: REGMODE %s, %s", REGMODE_A, REGMODE_B);
    if (!write_mode(WRITEMODE_A) || !write_mode(WRITEMODE_B))
      $fatal(1, "%m: WRITEMODE %s, %s", WRITEMODE_A, WRITEMODE_B);
    if (!SYNC && RESETMODE != "ASYNC")
      $fatal(1, "%m: RESETMODE %s", RESETMODE);
    if (PSEUDO && WIDTH_B == 36 && REGMODE_A != REGMODE_B)
      $fatal(1, "%m: width 36 has one output register: REGMODE %s, %s", REGMODE_A, REGMODE_B);
  end

  reg [35:0] words [0:511];
  integer n;
  initial
    for (n = 0; n < 512; n = n + 1)
      words[n] = {INIT[40 * n + 20 +: 18], INIT[40 * n +: 18]};

  // A port's place in a word, and what it may write of it.
  function [5:0] place(input integer width, input [4:0] ad);
    case (width)
      36: place = 0;
      18: place = ad[4] ? 18 : 0;
      9: place = 9 * ad[4:3];
      4: place = 9 * ad[4:3] + {ad[2], 2'b0};
      2: place = 9 * ad[4:3] + {ad[2:1], 1'b0};
      default: place = 9 * ad[4:3] + ad[2:0];
    endcase
  endfunction
  function [35:0] ones(input integer width);
    ones = 36'hfffffffff >> (36 - width);
  endfunction
  function [35:0] writable(input integer width, input [4:0] ad);
    case (width)
      36: writable = {{9{ad[3]}}, {9{ad[2]}}, {9{ad[1]}}, {9{ad[0]}}};
      18: writable = {18'b0, {9{ad[1]}}, {9{ad[0]}}};
      default: writable = ones(width);
    endcase
  endfunction

  // What a port's latch holds after an access. `old` and `now` are the word before and after it.
  function [35:0] latched(
    input [15*8-1:0] mode, input write, input [35:0] held, old, now, mask
  );
    if (!write) latched = old;
    else case (mode)
      "WRITETHROUGH": latched = (held & ~mask) | (now & mask);
      "READBEFOREWRITE": latched = old;
      default: latched = held;
    endcase
  endfunction

  reg [35:0] latch_a = 0, latch_b = 0, register_a = 0, register_b = 0;
  reg late_a = 0, late_b = 0;
  reg [35:0] noise = 36'h9e3779b97;

  // One block owns the contents; it knows which clocks rose by counting half periods.
  reg fell_a = 1, fell_b = 1, edge_a = 0, edge_b = 0;
  always @(negedge clk_a) fell_a <= ~edge_a;
  always @(negedge clk_b) fell_b <= ~edge_b;

  wire clear_a = rst_a & (SYNC ? clk_a : 1'b1);
  wire clear_b = rst_b & (SYNC ? clk_b : 1'b1);

  reg rise_a, rise_b, go_a, go_b, write_a, write_b, same;
  reg [35:0] mask_a, mask_b, old_a, old_b, now_a, now_b, seen_by_a, seen_by_b, clash;
  reg [5:0] place_a, place_b;

  always @(posedge clk_a or posedge clk_b or posedge clear_a or posedge clear_b) begin
    rise_a = clk_a & (fell_a ^ edge_a);
    rise_b = clk_b & (fell_b ^ edge_b);
    if (rise_a) edge_a <= fell_a;
    if (rise_b) edge_b <= fell_b;
    go_a = rise_a & ce_a & (cs_a == chips(CSDECODE_A)) & ~(SYNC & rst_a);
    go_b = rise_b & ce_b & (cs_b == chips(CSDECODE_B)) & ~(SYNC & rst_b);
    write_a = go_a & we_a;
    write_b = go_b & we_b & ~PSEUDO;
    if (PSEUDO && go_a && !we_a) $fatal(1, "%m: tie WEA high at width 36: it is not wired");
    place_a = place(WIDTH_A, ad_a[4:0]);
    place_b = place(WIDTH_B, ad_b[4:0]);
    mask_a = (write_a ? writable(WIDTH_A, ad_a[4:0]) : 36'b0) << place_a;
    mask_b = (write_b ? writable(WIDTH_B, ad_b[4:0]) : 36'b0) << place_b;
    old_a = words[ad_a[13:5]];
    old_b = words[ad_b[13:5]];
    same = ad_a[13:5] == ad_b[13:5];
    clash = same ? mask_a & mask_b : 36'b0;
    seen_by_a = same ? (old_a & ~mask_b) | (noise & mask_b) : old_a;
    seen_by_b = same ? (old_b & ~mask_a) | (noise & mask_a) : old_b;

    words[ad_a[13:5]] = (old_a & ~mask_a) | (({di_b, di_a} << place_a) & mask_a);
    words[ad_b[13:5]] =
      (words[ad_b[13:5]] & ~mask_b) | (({18'b0, di_b} << place_b) & mask_b & ~clash)
      | (noise & clash);
    now_a = words[ad_a[13:5]];
    now_b = words[ad_b[13:5]];

    if (clear_a) latch_a <= 0;
    else if (go_a & ~PSEUDO)
      latch_a <= ones(WIDTH_A) & latched(
        WRITEMODE_A, write_a, latch_a, seen_by_a >> place_a, now_a >> place_a,
        mask_a >> place_a);
    if (clear_b) latch_b <= 0;
    else if (go_b)
      latch_b <= ones(WIDTH_B) & latched(
        WRITEMODE_B, write_b, latch_b, seen_by_b >> place_b, now_b >> place_b,
        mask_b >> place_b);

    if (!SYNC & clear_a) register_a <= 0;
    else if (rise_a & oce_a) register_a <= (SYNC & rst_a) | late_a ? 36'b0 : latch_a;
    if (!SYNC & clear_b) register_b <= 0;
    else if (rise_b & oce_b) register_b <= (SYNC & rst_b) | late_b ? 36'b0 : latch_b;
    if (LATE & clear_a) late_a <= 1;
    else if (rise_a) late_a <= 0;
    if (LATE & clear_b) late_b <= 1;
    else if (rise_b) late_b <= 0;

    noise <= {noise[34:0], noise[35] ^ noise[24]};
  end

  // A narrow word appears on all the pins, the ninth bits zero below width 9.
  function [17:0] pins(input integer width, input [17:0] value);
    case (width)
      1: pins = {2{1'b0, {8{value[0]}}}};
      2: pins = {2{1'b0, {4{value[1:0]}}}};
      4: pins = {2{1'b0, {2{value[3:0]}}}};
      9: pins = {2{value[8:0]}};
      default: pins = value;
    endcase
  endfunction
  wire [35:0] out_a = REGMODE_A == "OUTREG" ? register_a : latch_a;
  wire [35:0] out_b = REGMODE_B == "OUTREG" ? register_b : latch_b;
  // At width 36 the low half is on port A's pins.
  assign do_a = WIDTH_B == 36 ? out_b[17:0] : pins(WIDTH_A, out_a[17:0]);
  assign do_b = WIDTH_B == 36 ? out_b[35:18] : pins(WIDTH_B, out_b[17:0]);
endmodule
