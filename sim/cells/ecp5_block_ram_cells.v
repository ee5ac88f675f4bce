// The block RAM cells of ECP5 with the names and pins of the vendor's library, as Yosys and nextpnr
// know them: views of spikelet_ecp5_block_ram (ecp5_block_ram.v), for the shells in Yosys' own
// cells_sim.v and cells_bb.v. Only CLKMUX = INV is modelled of the pins' multiplexers.

`define SPIKELET_INITVALS \
  parameter [319:0] INITVAL_00 = 320'b0, parameter [319:0] INITVAL_01 = 320'b0, \
  parameter [319:0] INITVAL_02 = 320'b0, parameter [319:0] INITVAL_03 = 320'b0, \
  parameter [319:0] INITVAL_04 = 320'b0, parameter [319:0] INITVAL_05 = 320'b0, \
  parameter [319:0] INITVAL_06 = 320'b0, parameter [319:0] INITVAL_07 = 320'b0, \
  parameter [319:0] INITVAL_08 = 320'b0, parameter [319:0] INITVAL_09 = 320'b0, \
  parameter [319:0] INITVAL_0A = 320'b0, parameter [319:0] INITVAL_0B = 320'b0, \
  parameter [319:0] INITVAL_0C = 320'b0, parameter [319:0] INITVAL_0D = 320'b0, \
  parameter [319:0] INITVAL_0E = 320'b0, parameter [319:0] INITVAL_0F = 320'b0, \
  parameter [319:0] INITVAL_10 = 320'b0, parameter [319:0] INITVAL_11 = 320'b0, \
  parameter [319:0] INITVAL_12 = 320'b0, parameter [319:0] INITVAL_13 = 320'b0, \
  parameter [319:0] INITVAL_14 = 320'b0, parameter [319:0] INITVAL_15 = 320'b0, \
  parameter [319:0] INITVAL_16 = 320'b0, parameter [319:0] INITVAL_17 = 320'b0, \
  parameter [319:0] INITVAL_18 = 320'b0, parameter [319:0] INITVAL_19 = 320'b0, \
  parameter [319:0] INITVAL_1A = 320'b0, parameter [319:0] INITVAL_1B = 320'b0, \
  parameter [319:0] INITVAL_1C = 320'b0, parameter [319:0] INITVAL_1D = 320'b0, \
  parameter [319:0] INITVAL_1E = 320'b0, parameter [319:0] INITVAL_1F = 320'b0, \
  parameter [319:0] INITVAL_20 = 320'b0, parameter [319:0] INITVAL_21 = 320'b0, \
  parameter [319:0] INITVAL_22 = 320'b0, parameter [319:0] INITVAL_23 = 320'b0, \
  parameter [319:0] INITVAL_24 = 320'b0, parameter [319:0] INITVAL_25 = 320'b0, \
  parameter [319:0] INITVAL_26 = 320'b0, parameter [319:0] INITVAL_27 = 320'b0, \
  parameter [319:0] INITVAL_28 = 320'b0, parameter [319:0] INITVAL_29 = 320'b0, \
  parameter [319:0] INITVAL_2A = 320'b0, parameter [319:0] INITVAL_2B = 320'b0, \
  parameter [319:0] INITVAL_2C = 320'b0, parameter [319:0] INITVAL_2D = 320'b0, \
  parameter [319:0] INITVAL_2E = 320'b0, parameter [319:0] INITVAL_2F = 320'b0, \
  parameter [319:0] INITVAL_30 = 320'b0, parameter [319:0] INITVAL_31 = 320'b0, \
  parameter [319:0] INITVAL_32 = 320'b0, parameter [319:0] INITVAL_33 = 320'b0, \
  parameter [319:0] INITVAL_34 = 320'b0, parameter [319:0] INITVAL_35 = 320'b0, \
  parameter [319:0] INITVAL_36 = 320'b0, parameter [319:0] INITVAL_37 = 320'b0, \
  parameter [319:0] INITVAL_38 = 320'b0, parameter [319:0] INITVAL_39 = 320'b0, \
  parameter [319:0] INITVAL_3A = 320'b0, parameter [319:0] INITVAL_3B = 320'b0, \
  parameter [319:0] INITVAL_3C = 320'b0, parameter [319:0] INITVAL_3D = 320'b0, \
  parameter [319:0] INITVAL_3E = 320'b0, parameter [319:0] INITVAL_3F = 320'b0
`define SPIKELET_INIT { \
  INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A, INITVAL_39, INITVAL_38, \
  INITVAL_37, INITVAL_36, INITVAL_35, INITVAL_34, INITVAL_33, INITVAL_32, INITVAL_31, INITVAL_30, \
  INITVAL_2F, INITVAL_2E, INITVAL_2D, INITVAL_2C, INITVAL_2B, INITVAL_2A, INITVAL_29, INITVAL_28, \
  INITVAL_27, INITVAL_26, INITVAL_25, INITVAL_24, INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20, \
  INITVAL_1F, INITVAL_1E, INITVAL_1D, INITVAL_1C, INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18, \
  INITVAL_17, INITVAL_16, INITVAL_15, INITVAL_14, INITVAL_13, INITVAL_12, INITVAL_11, INITVAL_10, \
  INITVAL_0F, INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A, INITVAL_09, INITVAL_08, \
  INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04, INITVAL_03, INITVAL_02, INITVAL_01, INITVAL_00 }

module DP16KD #(
  parameter DATA_WIDTH_A = 18, parameter REGMODE_A = "NOREG", parameter CSDECODE_A = "0b000",
  parameter WRITEMODE_A = "NORMAL", parameter CLKAMUX = "CLKA", parameter DATA_WIDTH_B = 18,
  parameter REGMODE_B = "NOREG", parameter CSDECODE_B = "0b000", parameter WRITEMODE_B = "NORMAL",
  parameter CLKBMUX = "CLKB", parameter RESETMODE = "SYNC", parameter ASYNC_RESET_RELEASE = "SYNC",
  parameter GSR = "ENABLED", parameter WID = 0, parameter INIT_DATA = "STATIC",
  `SPIKELET_INITVALS
) (
  input DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4,
  DIA3, DIA2, DIA1, DIA0, ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3,
  ADA2, ADA1, ADA0, CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0, DIB17, DIB16, DIB15, DIB14,
  DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0, ADB13,
  ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0, CEB, OCEB, CLKB,
  WEB, RSTB, CSB2, CSB1, CSB0, output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9,
  DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1, DOA0, DOB17, DOB16, DOB15, DOB14, DOB13, DOB12,
  DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1, DOB0
);
  wire [13:0] ad_a = {
    ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0
  };
  wire [17:0] di_a = {
    DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4,
    DIA3, DIA2, DIA1, DIA0
  };
  wire [17:0] do_a;
  assign {
    DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4,
    DOA3, DOA2, DOA1, DOA0
  } = do_a;
  wire [13:0] ad_b = {
    ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0
  };
  wire [17:0] di_b = {
    DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4,
    DIB3, DIB2, DIB1, DIB0
  };
  wire [17:0] do_b;
  assign {
    DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4,
    DOB3, DOB2, DOB1, DOB0
  } = do_b;
  spikelet_ecp5_block_ram #(
    .WIDTH_A(DATA_WIDTH_A), .REGMODE_A(REGMODE_A), .CSDECODE_A(CSDECODE_A),
    .WRITEMODE_A(WRITEMODE_A), .WIDTH_B(DATA_WIDTH_B), .REGMODE_B(REGMODE_B),
    .CSDECODE_B(CSDECODE_B), .WRITEMODE_B(WRITEMODE_B), .RESETMODE(RESETMODE),
    .ASYNC_RESET_RELEASE(ASYNC_RESET_RELEASE), .INIT(`SPIKELET_INIT)
  ) ram (
    .clk_a(CLKAMUX == "INV" ? ~CLKA : CLKA), .ce_a(CEA), .oce_a(OCEA), .we_a(WEA), .rst_a(RSTA),
    .cs_a({CSA2, CSA1, CSA0}), .ad_a(ad_a), .di_a(di_a), .do_a(do_a),
    .clk_b(CLKBMUX == "INV" ? ~CLKB : CLKB), .ce_b(CEB), .oce_b(OCEB), .we_b(WEB), .rst_b(RSTB),
    .cs_b({CSB2, CSB1, CSB0}), .ad_b(ad_b), .di_b(di_b), .do_b(do_b)
  );
endmodule

// Pseudo dual port. RST resets both ports: it drops writes too. Read at width 36 the low half of a
// word is on DO35..DO18 and the high half on DO17..DO0; a narrower word begins at DO0.
module PDPW16KD #(
  parameter DATA_WIDTH_W = 36, parameter DATA_WIDTH_R = 36, parameter REGMODE = "NOREG",
  parameter RESETMODE = "SYNC", parameter ASYNC_RESET_RELEASE = "SYNC",
  parameter CSDECODE_W = "0b000", parameter CSDECODE_R = "0b000", parameter CLKWMUX = "CLKW",
  parameter CLKRMUX = "CLKR", parameter GSR = "ENABLED", parameter INIT_DATA = "STATIC",
  `SPIKELET_INITVALS
) (
  input DI35, DI34, DI33, DI32, DI31, DI30, DI29, DI28, DI27, DI26, DI25, DI24, DI23, DI22, DI21,
  DI20, DI19, DI18, DI17, DI16, DI15, DI14, DI13, DI12, DI11, DI10, DI9, DI8, DI7, DI6, DI5, DI4,
  DI3, DI2, DI1, DI0, ADW8, ADW7, ADW6, ADW5, ADW4, ADW3, ADW2, ADW1, ADW0, BE3, BE2, BE1, BE0,
  CEW, CLKW, CSW2, CSW1, CSW0, ADR13, ADR12, ADR11, ADR10, ADR9, ADR8, ADR7, ADR6, ADR5, ADR4,
  ADR3, ADR2, ADR1, ADR0, CER, OCER, CLKR, CSR2, CSR1, CSR0, RST, output DO35, DO34, DO33, DO32,
  DO31, DO30, DO29, DO28, DO27, DO26, DO25, DO24, DO23, DO22, DO21, DO20, DO19, DO18, DO17, DO16,
  DO15, DO14, DO13, DO12, DO11, DO10, DO9, DO8, DO7, DO6, DO5, DO4, DO3, DO2, DO1, DO0
);
  wire [35:0] di = {
    DI35, DI34, DI33, DI32, DI31, DI30, DI29, DI28, DI27, DI26, DI25, DI24, DI23, DI22, DI21, DI20,
    DI19, DI18, DI17, DI16, DI15, DI14, DI13, DI12, DI11, DI10, DI9, DI8, DI7, DI6, DI5, DI4, DI3,
    DI2, DI1, DI0
  };
  wire [35:0] read;
  assign {
    DO35, DO34, DO33, DO32, DO31, DO30, DO29, DO28, DO27, DO26, DO25, DO24, DO23, DO22, DO21, DO20,
    DO19, DO18, DO17, DO16, DO15, DO14, DO13, DO12, DO11, DO10, DO9, DO8, DO7, DO6, DO5, DO4, DO3,
    DO2, DO1, DO0
  } = read;
  wire [13:0] ad_w = {
    ADW8, ADW7, ADW6, ADW5, ADW4, ADW3, ADW2, ADW1, ADW0, 1'b0, BE3, BE2, BE1, BE0
  };
  wire [13:0] ad_r = {
    ADR13, ADR12, ADR11, ADR10, ADR9, ADR8, ADR7, ADR6, ADR5, ADR4, ADR3, ADR2, ADR1, ADR0
  };
  initial if (DATA_WIDTH_W != 36) $fatal(1, "%m: DATA_WIDTH_W %0d", DATA_WIDTH_W);
  spikelet_ecp5_block_ram #(
    .WIDTH_A(36), .REGMODE_A(REGMODE), .CSDECODE_A(CSDECODE_W),
    .WIDTH_B(DATA_WIDTH_R), .REGMODE_B(REGMODE), .CSDECODE_B(CSDECODE_R),
    .RESETMODE(RESETMODE), .ASYNC_RESET_RELEASE(ASYNC_RESET_RELEASE), .INIT(`SPIKELET_INIT)
  ) ram (
    .clk_a(CLKWMUX == "INV" ? ~CLKW : CLKW), .ce_a(CEW), .oce_a(1'b0), .we_a(1'b1), .rst_a(RST),
    .cs_a({CSW2, CSW1, CSW0}), .ad_a(ad_w), .di_a(di[17:0]), .do_a(read[35:18]),
    .clk_b(CLKRMUX == "INV" ? ~CLKR : CLKR), .ce_b(CER), .oce_b(OCER), .we_b(1'b0), .rst_b(RST),
    .cs_b({CSR2, CSR1, CSR0}), .ad_b(ad_r), .di_b(di[35:18]), .do_b(read[17:0])
  );
endmodule

`undef SPIKELET_INITVALS
`undef SPIKELET_INIT
